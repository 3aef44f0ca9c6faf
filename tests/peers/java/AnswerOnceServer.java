import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;

/**
 * Receives once from one client, answers, and ends.
 *
 *     java AnswerOnceServer.java [PORT]            the default is 8888
 */
class AnswerOnceServer {
    public static void main(String[] args) throws Exception {
        int port = args.length > 0 ? Integer.parseInt(args[0]) : 8888;
        var local = InetAddress.getByName("127.0.0.1");
        try (var listener = new ServerSocket(port, 5, local)) {
            System.out.println("listening on 127.0.0.1:" + listener.getLocalPort());
            try (var connection = listener.accept()) {
                var buffer = new byte[1024];
                int n = Math.max(0, connection.getInputStream().read(buffer));
                var text = new String(buffer, 0, n, StandardCharsets.UTF_8);
                System.out.println("received " + text);
                var answer = "Hello, client!".getBytes(StandardCharsets.UTF_8);
                connection.getOutputStream().write(answer);
            }
        }
    }
}
