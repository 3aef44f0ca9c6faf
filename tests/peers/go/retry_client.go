// Asks until the server answers, within limits of time.
//
//	go run retry_client.go PORT TEXT
//
// Exit codes: 0 answered, 2 wrong usage, 3 certainly not executed, 4 unknown,
// 5 the server broke the protocol, 6 the server answered a definite error.
package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand"
	"net"
	"os"
	"strconv"
	"time"
)

const (
	maxLength                   = 65536
	echo, echoReply, failure    = 0x01, 0x81, 0x7f
	usage, notExecuted, unknown = 2, 3, 4
	broken, definite            = 5, 6
)

// What the code of an ERROR frame means for the request.
var meaning = map[byte]int{1: definite, 2: definite, 3: definite, 4: definite,
	5: unknown, 6: notExecuted, 7: definite, 8: notExecuted, 9: definite}

var (
	connectLimit = milliseconds("TCP_CONNECT_MS", 4000)
	requestLimit = milliseconds("TCP_REQUEST_MS", 5000)     // to a whole reply
	limit        = milliseconds("TCP_DEADLINE_MS", 30000)   // everything
	attempts     = setting("TCP_ATTEMPTS", 5)               // the first too
	ceiling      = milliseconds("TCP_BACKOFF_BASE_MS", 100) // first wait
	highest      = milliseconds("TCP_BACKOFF_CAP_MS", 2000) // any wait
)

func setting(name string, preset int) int {
	value := os.Getenv(name)
	if value == "" {
		return preset
	}
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		exit(usage, name, err)
	}
	return int(n)
}

func milliseconds(name string, preset int) time.Duration {
	return time.Duration(setting(name, preset)) * time.Millisecond
}

func exit(code int, why ...any) {
	fmt.Fprintln(os.Stderr, why...)
	os.Exit(code)
}

// within returns the time after limit, or end if that is earlier.
func within(limit time.Duration, end time.Time) time.Time {
	if t := time.Now().Add(limit); t.Before(end) {
		return t
	}
	return end
}

// attempt asks once, on a connection that is closed in any case: a late reply
// must not answer the next request. It returns the payload of the reply, or
// an error and the exit code that it means.
func attempt(port, text string, end time.Time) ([]byte, int, error) {
	dialer := net.Dialer{Deadline: within(connectLimit, end)}
	connection, err := dialer.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		return nil, notExecuted, err
	}
	defer connection.Close()
	// One limit for all that follows: a reply byte by byte cannot stretch it.
	connection.SetDeadline(within(requestLimit, end))
	frame := binary.BigEndian.AppendUint32(nil, uint32(1+len(text)))
	frame = append(append(frame, echo), text...)
	if _, err := connection.Write(frame); err != nil {
		return nil, unknown, err
	}
	var header [4]byte
	if _, err := io.ReadFull(connection, header[:]); err != nil {
		return nil, unknown, err
	}
	n := binary.BigEndian.Uint32(header[:])
	if n == 0 || n > maxLength {
		return nil, broken, fmt.Errorf("the server sent the length %d", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(connection, body); err != nil {
		return nil, unknown, err
	}
	if body[0] == echoReply && string(body[1:]) == text {
		return body[1:], 0, nil
	} else if body[0] == failure && n > 1 && meaning[body[1]] != 0 {
		return nil, meaning[body[1]], fmt.Errorf("error %d", body[1])
	}
	return nil, broken, fmt.Errorf("kind %#02x is not the reply to TEXT", body[0])
}

func main() {
	if len(os.Args) != 3 || len(os.Args[2]) > maxLength-1 {
		exit(usage, "usage: retry_client PORT TEXT (at most 65535 bytes)")
	}
	end := time.Now().Add(limit)
	// Before Go 1.20 the common source is the same in every process.
	random := rand.New(rand.NewSource(time.Now().UnixNano()))
	outcome := notExecuted
	for n := 1; n <= attempts; n++ {
		reply, code, err := attempt(os.Args[1], os.Args[2], end)
		if err == nil {
			os.Stdout.Write(append(reply, '\n'))
			return
		}
		fmt.Fprintf(os.Stderr, "attempt %d: %v\n", n, err)
		if code == unknown {
			outcome = unknown // and stays so, whatever comes
		} else if code != notExecuted && outcome != unknown {
			os.Exit(code) // asking again would not help
		} else if code != notExecuted {
			os.Exit(unknown)
		}
		// Full jitter: clients that failed together do not return together.
		if ceiling > highest {
			ceiling = highest
		}
		wait := time.Duration(random.Int63n(int64(ceiling) + 1))
		if n == attempts || time.Now().Add(wait).After(end) {
			break
		}
		time.Sleep(wait)
		ceiling *= 2
	}
	exit(outcome, "127.0.0.1:"+os.Args[1]+": gave up")
}
