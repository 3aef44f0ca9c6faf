// Receives once from one client, answers, and ends.
//
//	go run answer_once_server.go [PORT]          the default is 8888
package main

import (
	"fmt"
	"log"
	"net"
	"os"
)

func main() {
	port := "8888"
	if len(os.Args) > 1 {
		port = os.Args[1]
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	fmt.Println("listening on", listener.Addr())
	connection, err := listener.Accept()
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	buffer := make([]byte, 1024)
	n, err := connection.Read(buffer)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("received %s\n", buffer[:n])
	if _, err := connection.Write([]byte("Hello, client!")); err != nil {
		log.Fatal(err)
	}
}
