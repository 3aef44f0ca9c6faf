import java.net.Socket;
import java.nio.charset.StandardCharsets;

/**
 * Sends a greeting and prints what the server answers.
 *
 *     java Hello.java [PORT]                       the default is 8888
 */
class Hello {
    public static void main(String[] args) throws Exception {
        int port = args.length > 0 ? Integer.parseInt(args[0]) : 8888;
        try (var connection = new Socket("127.0.0.1", port)) {
            var greeting = "Hello, Server!".getBytes(StandardCharsets.UTF_8);
            connection.getOutputStream().write(greeting);
            connection.shutdownOutput(); // FIN: that was all
            connection.getInputStream().transferTo(System.out); // to the end
            System.out.println();
        }
    }
}
