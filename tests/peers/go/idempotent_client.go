// Adds to a total, exactly once, however often it has to ask.
//
//	go run idempotent_client.go PORT --add AMOUNT
//
// TCP_CLIENT_ID and TCP_SEQ name the operation. If the outcome is unknown, run
// it again under the same name: the server does not add a second time.
//
// Exit codes: 0 answered, 2 wrong usage, 3 certainly not executed, 4 unknown,
// 5 the server broke the protocol, 6 the server answered a definite error.
package main

import (
	"bytes"
	crypto "crypto/rand"
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
	ping, add, failure, reply                     = 0x02, 0x03, 0x7f, 0x80
	usage, notExecuted, unknown, broken, definite = 2, 3, 4, 5, 6
)

// What the code of an ERROR frame means for the request.
var meaning = map[byte]int{1: definite, 2: definite, 3: definite, 4: definite,
	5: unknown, 6: notExecuted, 7: definite, 8: notExecuted, 9: definite}

var (
	connectLimit = milliseconds("TCP_CONNECT_MS", 4000)
	requestLimit = milliseconds("TCP_REQUEST_MS", 5000)     // to a whole reply
	limit        = milliseconds("TCP_DEADLINE_MS", 30000)   // everything
	attempts     = setting("TCP_ATTEMPTS", 5, 31)           // the first too
	ceiling      = milliseconds("TCP_BACKOFF_BASE_MS", 100) // first wait
	highest      = milliseconds("TCP_BACKOFF_CAP_MS", 2000) // any wait
)

func setting(name string, preset uint64, bits int) uint64 {
	value := os.Getenv(name)
	if value == "" {
		return preset
	}
	n, err := strconv.ParseUint(value, 10, bits)
	if err != nil {
		exit(usage, name, err)
	}
	return n
}

func milliseconds(name string, preset uint64) time.Duration {
	return time.Duration(setting(name, preset, 31)) * time.Millisecond
}

func exit(code int, why ...any) {
	fmt.Fprintln(os.Stderr, why...)
	os.Exit(code)
}

// attempt asks once, on a connection of its own. It returns the total, or an
// error and the exit code that it means.
func attempt(port string, op []byte, end time.Time) (int64, int, error) {
	dialer := net.Dialer{Timeout: connectLimit, Deadline: end}
	connection, err := dialer.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		return 0, notExecuted, err
	}
	defer connection.Close()
	// One limit for all that follows: a reply byte by byte cannot stretch it.
	if t := time.Now().Add(requestLimit); t.Before(end) {
		end = t
	}
	connection.SetDeadline(end)
	_, err = connection.Write(op)
	for err == nil {
		var n uint32
		if err = binary.Read(connection, binary.BigEndian, &n); err != nil {
			break
		}
		if n == 0 || n > 65536 {
			return 0, broken, fmt.Errorf("the server sent the length %d", n)
		}
		body := make([]byte, n)
		_, err = io.ReadFull(connection, body)
		switch kind, payload := body[0], body[1:]; {
		case err != nil: // it ends the loop
		case kind == ping && n == 9:
			pong := []byte{0, 0, 0, 9, ping | reply}
			_, err = connection.Write(append(pong, payload...))
		case kind == add|reply && n == 25:
			if bytes.Equal(payload[:16], op[5:21]) { // not another ADD's
				return int64(binary.BigEndian.Uint64(payload[16:])), 0, nil
			}
		case kind == failure && n > 1 && meaning[payload[0]] != 0:
			code, why := payload[0], payload[1:]
			return 0, meaning[code], fmt.Errorf("error %d: %.200q", code, why)
		case kind != ping|reply:
			return 0, broken, fmt.Errorf("kind %#02x is no reply to ADD", kind)
		}
	}
	return 0, unknown, err
}

func main() {
	if len(os.Args) != 4 || os.Args[2] != "--add" {
		exit(usage, "usage: idempotent_client PORT --add AMOUNT")
	}
	amount, err := strconv.ParseInt(os.Args[3], 10, 64)
	if err != nil {
		exit(usage, err)
	}
	var random uint64
	if binary.Read(crypto.Reader, binary.BigEndian, &random) != nil {
		exit(1, "no random numbers")
	}
	rand.Seed(int64(random)) // as Go does by itself since 1.20
	// The operation's name, the same in all attempts: whose it is, its number.
	client := setting("TCP_CLIENT_ID", random, 64)
	seq := setting("TCP_SEQ", 1, 64)
	op := bytes.NewBuffer([]byte{0, 0, 0, 25, add})
	binary.Write(op, binary.BigEndian, []uint64{client, seq, uint64(amount)})
	end, outcome := time.Now().Add(limit), notExecuted
	for n := uint64(1); n <= attempts; n++ {
		total, code, err := attempt(os.Args[1], op.Bytes(), end)
		if err == nil {
			fmt.Println(total)
			return
		}
		fmt.Fprintf(os.Stderr, "attempt %d: %v\n", n, err)
		if outcome != unknown { // which stays so, whatever comes
			outcome = code
		}
		// Full jitter: clients that failed together do not return together.
		if ceiling > highest {
			ceiling = highest
		}
		wait := time.Duration(rand.Int63n(int64(ceiling) + 1))
		if code > unknown || n == attempts || time.Now().Add(wait).After(end) {
			break // after broken and definite, asking again would not help
		}
		time.Sleep(wait)
		ceiling *= 2
	}
	exit(outcome, "gave up on operation", seq, "of client", client)
}
