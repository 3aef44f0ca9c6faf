# Grades the folder `submissions`: sh grade.sh --seed 7 --out reports
exec check class server step4 submissions \
  --cmd 'server.py: python3 server.py {addr}' \
  --cmd 'server.c: ./server {port}' \
  --cmd 'server.go: ./server {port}' \
  --build 'server.c: cc -std=gnu11 -pthread -o server server.c' \
  --build 'server.go: go build -o server server.go' \
  "$@"
