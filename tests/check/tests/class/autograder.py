"""Grades a push: CLASSROOM/autograders/ASSIGNMENT/autograder.py.

The program `check` lies beside this file.
"""
import json
import os
import subprocess
from datetime import datetime, timezone
from pathlib import Path

check = [Path(__file__).parent / "check", "server", "step4"]
options = ["--format", "classroom", "--cmd", "python3 server.py {addr}"]
env = {"PATH": os.environ["PATH"]}  # nothing that the runner reads
report = subprocess.run(check + options, stdout=subprocess.PIPE, env=env)
if report.returncode not in (0, 1, 2, 3):
    raise SystemExit(f"the checker ended with {report.returncode}")
result = json.loads(report.stdout)
result["classroom"] = os.environ["CLASSROOM"]
result["assignment"] = os.environ["ASSIGNMENT"]
result["submission"] = os.environ["SUBMISSION_TAG"]
result["commit"] = os.environ["COMMIT_URL"]
result["release"] = os.environ["RELEASE_URL"]
result["review"] = os.environ.get("REVIEW_URL") or os.environ["COMMIT_URL"]
now = datetime.now(timezone.utc)
result["datetime"] = now.strftime("%Y-%m-%dT%H:%M:%SZ")
Path("result.json").write_text(json.dumps(result))
failed = [test for test in result["tests"] if not test["passed"]]
body = f"{result['score']} of {result['max-score']} points\n"
for test in failed:  # what the student reads, each line in a fence
    body += "\n".join(["", "````text", test["output"].rstrip(), "````", ""])
Path("release-body.md").write_text(body)
