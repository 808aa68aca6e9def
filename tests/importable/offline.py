"""Takes away the network, as far as it goes by names."""

import socket


def know_no_names():
    def unknown(*_):
        raise socket.gaierror(-2, "Name or service not known")

    socket.getaddrinfo = unknown
