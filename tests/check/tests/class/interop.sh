# Lets all in `submissions` meet each other: sh interop.sh --seed 7
exec check interop step4 submissions \
  --server 'server.py: python3 server.py {port}' \
  --server 'server.c: ./server {port}' \
  --server 'server.mjs: node server.mjs {port}' \
  --client 'client.py: python3 client.py {port} {text}' \
  --client 'client.c: ./client {port} {text}' \
  --client 'client.mjs: node client.mjs {port} {text}' \
  --build 'server.c: cc -std=gnu11 -pthread -o server server.c' \
  --build 'client.c: cc -std=gnu11 -pthread -o client client.c' \
  "$@"
