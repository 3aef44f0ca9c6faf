# The same in a container that has no network, a file system that it cannot
# change, and only two folders of yours: submissions to read, reports to write.
# The image `class` has the checker, and the languages of the class.
mkdir -p reports # otherwise Docker makes it, for root
exec docker run --rm --init --network none --read-only \
  --tmpfs /tmp:exec,size=1g \
  --cap-drop ALL --security-opt no-new-privileges --user "$(id -u):$(id -g)" \
  --memory 4g --pids-limit 1000 --env HOME=/tmp --workdir /class \
  --volume "$PWD/submissions:/class/submissions:ro" \
  --volume "$PWD/grade.sh:/class/grade.sh:ro" \
  --volume "$PWD/reports:/class/reports" \
  class sh grade.sh --out reports "$@"
