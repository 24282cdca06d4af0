"""zoo as a process that keeps its network and answers pieces of work (zoo bench --serve)."""
import json
import subprocess


class Zoo:
    def __init__(self, program, folder, dtype, training=False, device="cuda"):
        command = [program, "bench", str(folder), "--serve", "--device", device, "--dtype", dtype]
        self.process = subprocess.Popen(command + (["--mode", "training"] if training else []), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        while True:
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit("zoo ended")
            reply = json.loads(line)
            if "error" in reply:
                raise SystemExit(reply["error"])
            if "seconds" in reply:
                return reply["seconds"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()
