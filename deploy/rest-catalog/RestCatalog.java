import java.net.InetSocketAddress;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.apache.iceberg.jdbc.JdbcCatalog;
import org.apache.iceberg.rest.RESTCatalogAdapter;
import org.apache.iceberg.rest.RESTCatalogServlet;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.servlet.ServletContextHandler;
import org.eclipse.jetty.servlet.ServletHolder;

/**
 * Iceberg's REST catalog over a sqlite file, on a loopback port: PORT DATABASE WAREHOUSE
 * [NAME=VALUE ...], the rest being properties of the warehouse's file system. Secrets come from the
 * environment, where the S3 client looks for them.
 */
public class RestCatalog {
    public static void main(String[] arguments) throws Exception {
        JdbcCatalog catalog = new JdbcCatalog();
        catalog.setConf(new org.apache.hadoop.conf.Configuration());
        Map<String, String> properties = new HashMap<>(
            Map.of(
                "uri", "jdbc:sqlite:" + arguments[1],
                "warehouse", arguments[2],
                "jdbc.schema-version", "V1",
                "clients", "1"));
        for (String property : Arrays.asList(arguments).subList(3, arguments.length)) {
            String[] parts = property.split("=", 2);
            properties.put(parts[0], parts[1]);
        }
        catalog.initialize("rest", properties);
        ServletContextHandler handler = new ServletContextHandler();
        handler.addServlet(
            new ServletHolder(new RESTCatalogServlet(new RESTCatalogAdapter(catalog))), "/*");
        Server server =
            new Server(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0])));
        server.setHandler(handler);
        server.start();
        server.join();
    }
}
