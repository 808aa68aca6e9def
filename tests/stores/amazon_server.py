"""Starts moto's S3 server.

python amazon_server.py    # writes its port to the standard output
"""

import threading

from moto.server import ThreadedMotoServer

running = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
running.start()
print(running.get_host_and_port()[1], flush=True)
threading.Event().wait()
