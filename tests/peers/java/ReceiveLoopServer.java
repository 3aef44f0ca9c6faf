import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;

/**
 * Receives from one client until it ends its stream, and never answers.
 *
 *     java ReceiveLoopServer.java [PORT]           the default is 8888
 */
class ReceiveLoopServer {
    public static void main(String[] args) throws Exception {
        int port = args.length > 0 ? Integer.parseInt(args[0]) : 8888;
        var local = InetAddress.getByName("127.0.0.1");
        try (var listener = new ServerSocket(port, 5, local)) {
            System.out.println("listening on 127.0.0.1:" + listener.getLocalPort());
            try (var connection = listener.accept()) {
                var input = connection.getInputStream();
                var buffer = new byte[1024];
                int n;
                while ((n = input.read(buffer)) != -1) { // -1: the client has ended
                    var text = new String(buffer, 0, n, StandardCharsets.UTF_8);
                    System.out.println("received " + text);
                }
            }
        }
        System.out.println("the client has ended");
    }
}
