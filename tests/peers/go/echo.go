// Echoes bytes or framed messages, each client in its own goroutine.
//
//	go run echo.go raw|copy|frames [PORT]      default 8888; 0 is any free port
//
// raw is a loop of Read and Write, copy is io.Copy, frames is bufio.
// A frame is a length N (4 bytes, big endian), a kind (1 byte) and a payload.
// N counts the kind and the payload: 1 <= N <= 65536.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"time"
)

const (
	room      = 16 * 1024 // of each buffer, in bytes
	maxLength = 65536
	echo      = 0x01
	echoReply = 0x81
	failure   = 0x7f // ERROR: a code and a text
)

func serveRaw(connection *net.TCPConn) error {
	buffer := make([]byte, room)
	for {
		n, readErr := connection.Read(buffer)
		if _, err := connection.Write(buffer[:n]); err != nil {
			return err
		}
		if readErr != nil {
			return readErr
		}
	}
}

// On Linux, io.Copy splices: the bytes never reach this program.
func serveCopy(connection *net.TCPConn) error {
	_, err := io.Copy(connection, connection)
	return err
}

// hasFrame tells whether a whole frame waits in the buffer.
func hasFrame(input *bufio.Reader) bool {
	if input.Buffered() < 4 {
		return false
	}
	head, _ := input.Peek(4)
	return input.Buffered() >= 4+int(binary.BigEndian.Uint32(head))
}

// appendError makes an ERROR frame.
func appendError(frame []byte, text string) []byte {
	frame = binary.BigEndian.AppendUint32(frame[:0], uint32(1+len(text)))
	return append(append(frame, failure), text...)
}

// refuse tells the client why. A close with bytes unread sends RST, and the
// client may lose the ERROR: so FIN first, and discard for one second in all.
func refuse(connection *net.TCPConn, output *bufio.Writer, text string) error {
	output.Write(appendError(nil, text))
	output.Flush()
	connection.CloseWrite()
	connection.SetReadDeadline(time.Now().Add(time.Second))
	_, err := io.Copy(io.Discard, connection)
	return err
}

func serveFrames(connection *net.TCPConn) error {
	input := bufio.NewReaderSize(connection, room)
	output := bufio.NewWriterSize(connection, room)
	frame := make([]byte, 4, room) // it grows for a larger one, and stays so
	for {
		if !hasFrame(input) {
			// Nothing is left to answer, so send what is answered: many
			// replies, one write.
			if err := output.Flush(); err != nil {
				return err
			}
		}
		if _, err := io.ReadFull(input, frame[:4]); err != nil {
			return err
		}
		length := binary.BigEndian.Uint32(frame[:4]) // a claim: check it first
		if length == 0 {
			return refuse(connection, output, "\x02length 0")
		}
		if length > maxLength {
			return refuse(connection, output, "\x01too long")
		}
		if cap(frame) < int(4+length) {
			frame = append(make([]byte, 0, 4+maxLength), frame[:4]...)
		}
		frame = frame[:4+length]
		if _, err := io.ReadFull(input, frame[4:]); err != nil {
			return err
		}
		if frame[4] == echo {
			frame[4] = echoReply
		} else {
			frame = appendError(frame, "\x03unknown kind")
		}
		output.Write(frame) // Flush reports an error of it
	}
}

func main() {
	serves := map[string]func(*net.TCPConn) error{
		"raw": serveRaw, "copy": serveCopy, "frames": serveFrames,
	}
	if len(os.Args) < 2 || serves[os.Args[1]] == nil {
		log.Fatal("usage: echo raw|copy|frames [PORT]")
	}
	serve, port := serves[os.Args[1]], "8888"
	if len(os.Args) > 2 {
		port = os.Args[2]
	}
	// Go sets SO_REUSEADDR and TCP_NODELAY, and takes the largest backlog
	// that the kernel allows.
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", listener.Addr())
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Print(err)
			// No descriptor left: without a pause we would spin.
			time.Sleep(100 * time.Millisecond)
			continue
		}
		go func() {
			defer connection.Close()
			err := serve(connection.(*net.TCPConn))
			if err != nil && err != io.EOF {
				log.Print(connection.RemoteAddr(), ": ", err)
			}
		}()
	}
}
