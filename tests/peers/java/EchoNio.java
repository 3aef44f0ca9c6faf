import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;

/**
 * Echoes bytes to all clients in one thread, with one selector.
 *
 *     java EchoNio.java [PORT]          default 8888; 0 is any free port
 */
class EchoNio {
    /** All clients take turns with it. */
    static final ByteBuffer BUFFER = ByteBuffer.allocateDirect(65_536);

    /** Reads once and sends what came; false: the client has ended. */
    static boolean echo(SelectionKey key) throws IOException {
        var channel = (SocketChannel) key.channel();
        if (channel.read(BUFFER.clear()) == -1) {
            return false;
        }
        channel.write(BUFFER.flip());
        if (BUFFER.hasRemaining()) {
            // The kernel has no room for more. A client that does not read is
            // not read from.
            var rest = ByteBuffer.allocateDirect(BUFFER.remaining());
            key.attach(rest.put(BUFFER).flip());
            key.interestOps(SelectionKey.OP_WRITE);
        }
        return true;
    }

    static void sendRest(SelectionKey key) throws IOException {
        var rest = (ByteBuffer) key.attachment();
        ((SocketChannel) key.channel()).write(rest);
        if (!rest.hasRemaining()) {
            key.attach(null);
            key.interestOps(SelectionKey.OP_READ);
        }
    }

    static void accept(ServerSocketChannel listener, Selector selector)
            throws InterruptedException {
        try {
            var channel = listener.accept();
            if (channel != null) { // null: the client has given up
                channel.configureBlocking(false);
                channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
                channel.register(selector, SelectionKey.OP_READ);
            }
        } catch (IOException error) {
            System.err.println("cannot accept: " + error.getMessage());
            Thread.sleep(100); // it may last: do not spin
        }
    }

    static void handle(SelectionKey key) {
        boolean isOpen = false;
        try {
            if (key.isReadable()) {
                isOpen = echo(key);
            } else {
                sendRest(key);
                isOpen = true;
            }
        } catch (IOException error) { // which no other client notices
            System.err.println(key.channel() + ": " + error.getMessage());
        }
        if (!isOpen) {
            try {
                key.channel().close();
            } catch (IOException error) {
                System.err.println("cannot close: " + error.getMessage());
            }
        }
    }

    public static void main(String[] args) throws Exception {
        int port = args.length > 0 ? Integer.parseInt(args[0]) : 8888;
        var listener = ServerSocketChannel.open();
        listener.setOption(StandardSocketOptions.SO_REUSEADDR, true);
        listener.bind(new InetSocketAddress("127.0.0.1", port), 1024);
        listener.configureBlocking(false);
        port = listener.socket().getLocalPort();
        System.out.println("listening on 127.0.0.1:" + port);
        var selector = Selector.open();
        listener.register(selector, SelectionKey.OP_ACCEPT);
        while (true) {
            selector.select();
            for (var key : selector.selectedKeys()) {
                if (key.isAcceptable()) {
                    accept(listener, selector);
                } else {
                    handle(key);
                }
            }
            selector.selectedKeys().clear();
        }
    }
}
