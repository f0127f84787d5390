"""As much of a W&B server as its client needs to sync, log online and run an agent: plain HTTP."""

import gzip
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ENTITY = "lab"


class Server:
    """What was sent to the server.

    Args:
        sweep: Content of a sweep file; its one agent gets `commands`.
        commands: What the agent shall do, one per heartbeat; then it is sent home.

    Attributes:
        runs: Id -> what was last sent of name, group, job type, tags, config, project.
        files: Id -> name of a file -> its lines; of history, summary and events.
        artifacts: Name -> how it was declared.
        used: Ids of artifacts that were used, in order.
        uploads: Paths of files that were sent.
        states: What the agent told of its runs, heartbeat by heartbeat.
    """

    def __init__(self, sweep: dict[str, Any] | None = None, commands: Any = ()) -> None:
        self.sweep, self.commands = sweep, list(commands)
        self.runs: dict[str, dict[str, Any]] = {}
        self.files: dict[str, dict[str, list[str]]] = {}
        self.artifacts: dict[str, dict[str, Any]] = {}
        self.used: list[str] = []
        self.uploads: list[str] = []
        self.states: list[dict[str, bool]] = []

    def rows(self, run: str) -> list[dict[str, Any]]:
        """The history of a run."""
        return [json.loads(line) for line in self.files[run]["wandb-history.jsonl"]]

    def summary(self, run: str) -> dict[str, Any]:
        """The summary of a run."""
        return json.loads(self.files[run]["wandb-summary.json"][-1])

    def stream(self, run: str, sent: dict[str, Any]) -> None:
        """Take lines of a run's files, which replace what was there from an offset on."""
        for name, part in sent.get("files", {}).items():
            lines = self.files.setdefault(run, {}).setdefault(name, [])
            lines[part["offset"] :] = part["content"]

    def answer(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """Answer a query or mutation by its name."""
        answer = getattr(self, f"_{name}", None)
        return {} if answer is None else answer(given)

    def _RunResumeStatus(self, given: dict[str, Any]) -> dict[str, Any]:
        run = given["name"]
        known = self.runs.get(run)
        project = {"id": "p", "name": given["project"], "entity": {"id": "e", "name": ENTITY}}
        if known is None:
            return {"model": {**project, "bucket": None}}
        history = self.files.get(run, {}).get("wandb-history.jsonl", [])
        events = self.files.get(run, {}).get("wandb-events.jsonl", [])
        summary = self.files.get(run, {}).get("wandb-summary.json", ["{}"])
        bucket = {
            "id": run,
            "name": run,
            "summaryMetrics": summary[-1],
            "displayName": known["displayName"],
            "logLineCount": 0,
            "historyLineCount": len(history),
            "eventsLineCount": len(events),
            "historyTail": json.dumps(history[-1:]),
            "eventsTail": json.dumps(events[-1:]),
            "config": known["config"],
            "tags": known["tags"],
            "notes": None,
            "wandbConfig": json.dumps({"t": 1}),
        }
        return {"model": {**project, "bucket": bucket}}

    def _UpsertBucket(self, given: dict[str, Any]) -> dict[str, Any]:
        new = given["name"] not in self.runs
        kept = self.runs.setdefault(given["name"], {})
        kept.update({key: value for key, value in given.items() if value is not None or new})
        project = {"id": "p", "name": kept["project"], "entity": {"id": "e", "name": ENTITY}}
        bucket = {
            "id": given["name"],
            "name": given["name"],
            "displayName": kept["displayName"],
            "description": None,
            "config": kept["config"],
            "sweepName": kept.get("sweep"),
            "project": project,
            "historyLineCount": 0,
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": new}}

    def _CreateArtifact(self, given: dict[str, Any]) -> dict[str, Any]:
        asked = given["input"]
        name = asked["artifactCollectionName"]
        self.artifacts[name] = asked
        artifact = {"id": name, "state": "COMMITTED", "artifactSequence": {"latestArtifact": None}}
        return {"createArtifact": {"artifact": artifact}}

    def _UseArtifact(self, given: dict[str, Any]) -> dict[str, Any]:
        used = given["input"]["artifactID"]
        self.used.append(used)
        return {"useArtifact": {"artifact": {"id": used}}}

    def _CreateRunFiles(self, given: dict[str, Any]) -> dict[str, Any]:
        self.uploads += given["files"]
        files = [{"name": name, "uploadUrl": f"/storage/{name}"} for name in given["files"]]
        return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}

    def _Viewer(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"viewer": {"id": "u", "entity": ENTITY, "username": ENTITY, "flags": "{}"}}

    def _ServerFeaturesQuery(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"serverInfo": {"features": []}}

    def _SweepWithRuns(self, given: dict[str, Any]) -> dict[str, Any]:
        sweep = {"id": "s", "name": given["sweep"], "config": json.dumps(self.sweep)}
        return {"project": {"sweep": {**sweep, "runs": {"edges": []}}}}

    def _CreateAgent(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"createAgent": {"agent": {"id": "agent"}}}

    def _Heartbeat(self, given: dict[str, Any]) -> dict[str, Any]:
        running = json.loads(given["runState"])
        self.states.append(running)
        commands = []
        if not running:
            commands = [self.commands.pop(0) if self.commands else {"type": "exit"}]
        heartbeat = {"agent": {"id": "agent"}, "commands": json.dumps(commands)}
        return {"agentHeartbeat": heartbeat}


@contextmanager
def serve(server: Server) -> Iterator[str]:
    """Answer requests inside; give the address."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *words: Any) -> None:
            pass

        def body(self) -> bytes:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            return gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body

        def reply(self, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self) -> None:
            self.body()
            self.reply({})

        def do_POST(self) -> None:
            body, data = self.body(), {}
            with lock:
                if self.path == "/graphql":
                    asked = json.loads(body)
                    name = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])
                    assert name is not None, asked
                    data = {"data": server.answer(name[1], asked.get("variables") or {})}
                elif self.path.endswith("/file_stream"):
                    server.stream(self.path.split("/")[-2], json.loads(body))
            self.reply(data)

    lock = threading.Lock()
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_address[1]}"
    finally:
        http.shutdown()
        thread.join()
