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
report = subprocess.run(check + options, stdout=subprocess.PIPE)
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
