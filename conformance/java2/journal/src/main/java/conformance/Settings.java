package conformance;

import java.nio.file.Path;

/** What a worker is told, in system properties. */
public record Settings(String endpoint, String region, String stream, String application, String worker, Path journal) {
    public static Settings read() {
        return new Settings(
                required("endpoint"),
                required("region"),
                required("stream"),
                required("application"),
                required("worker"),
                Path.of(required("journal")));
    }

    private static String required(String name) {
        String value = System.getProperty(name);
        if (value == null || value.isEmpty()) {
            throw new IllegalArgumentException("the system property " + name + " is missing");
        }
        return value;
    }
}
