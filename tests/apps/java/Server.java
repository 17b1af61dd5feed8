import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executors;

/** The server that is part of every JDK, as custom runtimes use it. */
public final class Server {
    private Server() {}

    public static void main(String[] args) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress(9000), 0);
        server.createContext("/", exchange -> {
            String seen = "{\"pid\":" + ProcessHandle.current().pid()
                + ",\"self\":\"" + exchange.getLocalAddress()
                + "\",\"peer\":\"" + exchange.getRemoteAddress() + "\"}\n";
            answer(exchange, seen.getBytes(StandardCharsets.UTF_8));
        });
        server.createContext("/echo", exchange -> answer(exchange, exchange.getRequestBody().readAllBytes()));
        server.setExecutor(Executors.newFixedThreadPool(8));
        server.start();
        System.out.println("Server started on port 9000");
    }

    private static void answer(HttpExchange exchange, byte[] body) throws IOException {
        exchange.sendResponseHeaders(200, body.length == 0 ? -1 : body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }
}
