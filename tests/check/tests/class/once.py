# Works the first time it is started, and leaves a mark in its folder.
import os, sys

if os.path.exists("mark"):
    sys.exit("error: I have been here before")
open("mark", "w").close()
sys.argv[1] = sys.argv[1].split(":")[1]
exec(open("correct.py").read())
