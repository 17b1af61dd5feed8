import java.io.IOException;
import javax.servlet.http.HttpServletRequest;
import javax.servlet.http.HttpServletResponse;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.handler.AbstractHandler;

/** Jetty within a program, as Spring Boot has it: the port from SERVER_PORT. */
public final class Jetty extends AbstractHandler {
    public static void main(String[] args) throws Exception {
        String port = System.getenv("SERVER_PORT");
        Server server = new Server(port == null ? 8080 : Integer.parseInt(port));
        server.setHandler(new Jetty());
        server.setStopAtShutdown(true);
        server.start();
        server.join();
    }

    @Override
    public void handle(String target, Request base, HttpServletRequest request, HttpServletResponse response)
            throws IOException {
        base.setHandled(true);
        if (target.equals("/echo")) {
            request.getInputStream().transferTo(response.getOutputStream());
            return;
        }
        response.setContentType("application/json");
        response.getWriter().println("{\"pid\":" + ProcessHandle.current().pid()
            + ",\"self\":\"" + request.getLocalAddr() + ":" + request.getLocalPort()
            + "\",\"peer\":\"" + request.getRemoteAddr() + ":" + request.getRemotePort() + "\"}");
    }
}
