// Receives from one client until it ends its stream, and never answers.
//
//	go run receive_loop_server.go [PORT]         the default is 8888
package main

import (
	"fmt"
	"io"
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
	for {
		n, err := connection.Read(buffer)
		if n > 0 {
			fmt.Printf("received %s\n", buffer[:n])
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("the client has ended")
}
