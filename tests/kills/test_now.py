import random, time, sys, os, pytest, shutil
from .disturbing import *
def test_x(request):
    name = os.environ["W"]
    server = request.getfixturevalue(os.environ["S"])
    writer = request.getfixturevalue(name)
    for is_new in eval(os.environ.get("NEW", "True,False")):
        if not is_new and writer.earlier is None: continue
        t=time.time()
        d = Disturber(server, writer, is_new)
        print("\n", name, is_new, d._calls, d._seconds, time.time()-t, flush=True)
        e = server.run(writer)
        if os.environ.get("SHOW"):
            print(e.log, e.calls, writer.seen(), d._left, sep="\n")
        else:
            d.kill(int(os.environ.get("K", 6)), random.Random(0))
            print(d.counts.kills, time.time()-t, flush=True)
            print(*d.counts.findings, sep="\n"); d.counts.findings.clear()
            d.fail(every=int(os.environ.get("E", 1)))
            print(d.counts.faults, time.time()-t)
            print(*d.counts.findings, sep="\n", flush=True)
        shutil.rmtree(writer.out); shutil.rmtree(d._kept, ignore_errors=True)
