import java.net.Socket;

/**
 * Connects and closes.
 *
 *     java ConnectOnlyClient.java [PORT]           the default is 9999
 */
class ConnectOnlyClient {
    public static void main(String[] args) throws Exception {
        int port = args.length > 0 ? Integer.parseInt(args[0]) : 9999;
        try (var connection = new Socket("127.0.0.1", port)) {
            System.out.println("connected");
        }
    }
}
