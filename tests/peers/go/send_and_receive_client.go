// Sends a greeting, receives once, and closes.
//
//	go run send_and_receive_client.go [PORT]     the default is 9999
package main

import (
	"fmt"
	"log"
	"net"
	"os"
)

func main() {
	port := "9999"
	if len(os.Args) > 1 {
		port = os.Args[1]
	}
	connection, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	fmt.Println("sending Hello, Server!")
	if _, err := connection.Write([]byte("Hello, Server!")); err != nil {
		log.Fatal(err)
	}
	buffer := make([]byte, 1024)
	n, err := connection.Read(buffer)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("received %s\n", buffer[:n])
}
