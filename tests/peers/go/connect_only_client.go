// Connects and closes.
//
//	go run connect_only_client.go [PORT]         the default is 9999
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
	fmt.Println("connected")
}
