// A fixed port, by the server that the JDK brings.
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

public class Server {
    public static void main(String[] arguments) throws Exception {
        HttpServer server = HttpServer.create(new InetSocketAddress(9000), 0);
        server.createContext("/", exchange -> {
            InetSocketAddress peer = exchange.getRemoteAddress(), own = exchange.getLocalAddress();
            byte[] body = String.format("{\"pid\":%d,\"peer\":[\"%s\",%d],\"own\":[\"%s\",%d]}",
                ProcessHandle.current().pid(), peer.getAddress().getHostAddress(), peer.getPort(),
                own.getAddress().getHostAddress(), own.getPort()).getBytes();
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.setExecutor(Executors.newCachedThreadPool());
        server.start();
        System.out.println("bound " + server.getAddress().getPort());
    }
}
