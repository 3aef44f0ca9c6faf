import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * Sends each TEXT in a frame, and prints the replies, a line each.
 *
 *     java FramedClient.java PORT [TEXT]...
 *
 * A frame is a length N (4 bytes, big endian), a kind (1 byte) and a payload.
 * N counts the kind and the payload: 1 <= N <= 65536.
 */
class FramedClient {
    static final int MAX_LENGTH = 65_536;
    static final byte ECHO = 0x01, ECHO_REPLY = (byte) 0x81, ERROR = 0x7f;

    static void send(Socket connection, List<byte[]> texts) {
        try {
            for (var text : texts) {
                var frame = ByteBuffer.allocate(5 + text.length); // big endian
                frame.putInt(1 + text.length).put(ECHO).put(text);
                connection.getOutputStream().write(frame.array());
            }
            connection.shutdownOutput(); // FIN: no more requests
        } catch (IOException error) {
            // Then a reply will be missing, which talk() reports.
        }
    }

    static byte[] receive(DataInputStream input) throws IOException {
        int length = input.readInt();
        // Unsigned: with a sign, ff ff ff ff would be -1, and small.
        if (length == 0 || Integer.compareUnsigned(length, MAX_LENGTH) > 0) {
            throw new IOException("the server sent the length "
                    + Integer.toUnsignedString(length));
        }
        byte kind = input.readByte();
        var payload = new byte[length - 1];
        input.readFully(payload);
        if (kind == ERROR && length > 1) { // a code and a text
            throw new IOException("the server answered error " + payload[0]);
        } else if (kind != ECHO_REPLY) {
            throw new IOException("the server sent the kind " + kind);
        }
        return payload;
    }

    static void talk(Socket connection, List<byte[]> texts) throws IOException {
        // If nobody read the replies until all is sent, the server could not
        // write them, would stop reading, and all would wait.
        var sender = new Thread(() -> send(connection, texts));
        sender.setDaemon(true); // an error below ends the program at once
        sender.start();
        var stream = new BufferedInputStream(connection.getInputStream());
        var input = new DataInputStream(stream);
        int received = 0;
        for (stream.mark(1); stream.read() != -1; stream.mark(1)) {
            stream.reset(); // it was not the end: back to the mark
            var payload = receive(input);
            if (++received > texts.size()) {
                throw new IOException("a reply to no message");
            }
            System.out.write(payload);
            System.out.write('\n');
            System.out.flush();
        }
        if (received < texts.size()) {
            throw new IOException(
                    received + " replies to " + texts.size() + " messages");
        }
    }

    public static void main(String[] args) {
        if (args.length == 0) {
            fail("usage: FramedClient PORT [TEXT]...");
        }
        int port = Integer.parseInt(args[0]);
        var texts = new ArrayList<byte[]>();
        for (int i = 1; i < args.length; i++) {
            texts.add(args[i].getBytes(StandardCharsets.UTF_8));
            if (texts.get(i - 1).length >= MAX_LENGTH) { // N counts the kind
                fail("TEXT " + i + " is too long");
            }
        }
        try (var connection = new Socket("127.0.0.1", port)) {
            connection.setTcpNoDelay(true);
            talk(connection, texts);
        } catch (EOFException error) {
            fail("the server ended in the middle of a reply");
        } catch (IOException error) {
            fail("127.0.0.1:" + port + ": " + error.getMessage());
        }
    }

    static void fail(String message) {
        System.err.println(message);
        System.exit(1);
    }
}
