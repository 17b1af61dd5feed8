// The HttpServer that the JDK brings. It knows TCP only.
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

public class App {
    public static void main(String[] args) throws IOException {
        String port = System.getenv().getOrDefault("PORT", "3000");
        InetAddress loopback = InetAddress.getLoopbackAddress();
        HttpServer server = HttpServer.create(new InetSocketAddress(loopback, Integer.parseInt(port)), 1024);
        server.createContext("/", exchange -> answer(exchange, "text/plain", "hello\n".getBytes()));
        server.createContext("/json", exchange -> answer(exchange, "application/json",
            exchange.getRequestMethod().equals("POST")
                ? exchange.getRequestBody().readAllBytes()
                : "{\"hello\":\"world\"}".getBytes()));
        server.createContext("/download", exchange -> {
            String query = exchange.getRequestURI().getQuery();
            answer(exchange, "application/octet-stream", new byte[Integer.parseInt(query.substring("bytes=".length()))]);
        });
        server.createContext("/upload", exchange -> {
            int bytes = exchange.getRequestBody().readAllBytes().length;
            answer(exchange, "application/json", ("{\"bytes\":" + bytes + "}").getBytes());
        });
        server.setExecutor(Executors.newCachedThreadPool());
        server.start();
    }

    private static void answer(HttpExchange exchange, String type, byte[] body) throws IOException {
        try (InputStream rest = exchange.getRequestBody()) {
            rest.readAllBytes();
        }
        exchange.getResponseHeaders().set("Content-Type", type);
        exchange.sendResponseHeaders(200, body.length == 0 ? -1 : body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }
}
