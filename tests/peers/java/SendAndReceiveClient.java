import java.net.Socket;
import java.nio.charset.StandardCharsets;

/**
 * Sends a greeting, receives once, and closes.
 *
 *     java SendAndReceiveClient.java [PORT]        the default is 9999
 */
class SendAndReceiveClient {
    public static void main(String[] args) throws Exception {
        int port = args.length > 0 ? Integer.parseInt(args[0]) : 9999;
        try (var connection = new Socket("127.0.0.1", port)) {
            System.out.println("sending Hello, Server!");
            var greeting = "Hello, Server!".getBytes(StandardCharsets.UTF_8);
            connection.getOutputStream().write(greeting);
            var buffer = new byte[1024];
            int n = Math.max(0, connection.getInputStream().read(buffer));
            var text = new String(buffer, 0, n, StandardCharsets.UTF_8);
            System.out.println("received " + text);
        }
    }
}
