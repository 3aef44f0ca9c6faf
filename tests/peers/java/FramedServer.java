import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.BindException;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/**
 * Echoes framed messages, each client in its own thread.
 *
 *     java FramedServer.java [PORT]     default 8888; 0 is any free port
 *
 * A frame is a length N (4 bytes, big endian), a kind (1 byte) and a payload.
 * N counts the kind and the payload: 1 <= N <= 65536.
 */
class FramedServer {
    static final int MAX_LENGTH = 65_536;
    static final byte ECHO = 0x01, ECHO_REPLY = (byte) 0x81, ERROR = 0x7f;

    static byte[] frame(byte kind, byte[] payload) {
        var frame = ByteBuffer.allocate(5 + payload.length); // big endian
        frame.putInt(1 + payload.length).put(kind).put(payload);
        return frame.array();
    }

    static byte[] error(String text) {
        return frame(ERROR, text.getBytes(StandardCharsets.US_ASCII));
    }

    /** Takes all whole frames off input; false: after a bad length. */
    static boolean reply(ByteBuffer input, ByteArrayOutputStream output) {
        while (input.remaining() >= 4) {
            int length = input.mark().getInt();
            // Unsigned: with a sign, ff ff ff ff would be -1, and small.
            if (Integer.compareUnsigned(length, MAX_LENGTH) > 0) {
                output.writeBytes(error("\1too long"));
                return false;
            } else if (length == 0) {
                output.writeBytes(error("\2length 0"));
                return false;
            } else if (input.remaining() < length) {
                input.reset(); // to the mark; more of it is on its way
                return true;
            }
            byte kind = input.get();
            var payload = new byte[length - 1];
            input.get(payload);
            if (kind == ECHO) {
                output.writeBytes(frame(ECHO_REPLY, payload));
            } else {
                output.writeBytes(error("\3unknown kind"));
            }
        }
        return true;
    }

    static void serve(Socket connection) {
        try (connection) {
            connection.setTcpNoDelay(true);
            var stream = connection.getInputStream();
            var input = ByteBuffer.allocate(4 + MAX_LENGTH); // one frame fits
            var output = new ByteArrayOutputStream();
            boolean inStep = true;
            while (inStep) {
                int n = stream.read(
                        input.array(), input.position(), input.remaining());
                if (n == -1) {
                    return; // the client has ended
                }
                input.position(input.position() + n).flip();
                inStep = reply(input, output);
                input.compact();
                output.writeTo(connection.getOutputStream()); // in one write
                output.reset();
            }
            drain(connection);
        } catch (IOException error) { // which no other client notices
            System.err.println(connection + ": " + error.getMessage());
        }
    }

    /**
     * A close with bytes unread sends RST, and the client may lose the ERROR.
     * So we end our direction first, and discard for one second in all.
     */
    static void drain(Socket connection) throws IOException {
        connection.shutdownOutput();
        var discarded = new byte[65_536];
        long end = System.nanoTime() + 1_000_000_000, left;
        while ((left = (end - System.nanoTime()) / 1_000_000) > 0) {
            connection.setSoTimeout((int) left); // in milliseconds
            if (connection.getInputStream().read(discarded) == -1) {
                break;
            }
        }
    }

    public static void main(String[] args) throws Exception {
        int port = args.length > 0 ? Integer.parseInt(args[0]) : 8888;
        var listener = new ServerSocket();
        listener.setReuseAddress(true); // after bind it would do nothing
        try {
            listener.bind(new InetSocketAddress("127.0.0.1", port), 1024);
        } catch (BindException error) {
            System.err.println("cannot listen on 127.0.0.1:" + port + ": "
                    + error.getMessage());
            System.exit(1);
        }
        port = listener.getLocalPort();
        System.out.println("listening on 127.0.0.1:" + port);
        while (true) {
            try {
                var connection = listener.accept();
                try {
                    new Thread(() -> serve(connection)).start();
                } catch (OutOfMemoryError error) { // no thread is left
                    connection.close();
                    throw new IOException(error);
                }
            } catch (IOException error) {
                System.err.println("cannot accept: " + error.getMessage());
                Thread.sleep(100); // it may last: do not spin
            }
        }
    }
}
