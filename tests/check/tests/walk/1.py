import socket
import sys

host, port = sys.argv[1].split(":")
server = socket.socket()
server.bind((host, int(port)))
server.listen()
print("Server started")
conn, peer = server.accept()
data = conn.recv(1024).decode()
conn.send(data.encode())
