import java.util.Properties;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.Metric;

/** COUNT messages by Apache Kafka's own client, each awaited: as many Produce requests. Options as in program.py. */
public class JavaProduce {
    public static void main(String[] arguments) throws Exception {
        Properties options = options(arguments);
        int count = Integer.parseInt(options.getProperty("count", "1009"));
        String topic = options.getProperty("topic", "orders");
        byte[] value = new byte[Integer.parseInt(options.getProperty("bytes", "100"))];

        Properties config = new Properties();
        config.put("bootstrap.servers", "127.0.0.1:" + options.getProperty("port"));
        config.put("client.id", "l7top-java");
        config.put("acks", options.getProperty("acks", "all"));
        config.put("enable.idempotence", "false");
        config.put("retries", "0");
        config.put("linger.ms", "0");
        config.put("key.serializer", "org.apache.kafka.common.serialization.ByteArraySerializer");
        config.put("value.serializer", "org.apache.kafka.common.serialization.ByteArraySerializer");
        long requests = 0;
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(config)) {
            producer.partitionsFor(topic);
            System.out.println("ready");
            if (options.containsKey("wait")) {
                System.in.read();
            }
            for (int sent = 0; sent < count; sent++) {
                producer.send(new ProducerRecord<>(topic, 0, null, value)).get(30, TimeUnit.SECONDS);
            }
            for (Metric metric : producer.metrics().values()) {
                if (metric.metricName().name().equals("request-total")
                        && metric.metricName().group().equals("producer-metrics")) {
                    requests = Math.round((Double) metric.metricValue());
                }
            }
        }
        System.out.printf("{\"messages\": %d, \"requests\": {\"all\": %d}}%n", count, requests);
    }

    /** "--name value" and "--flag" to properties. */
    private static Properties options(String[] arguments) {
        Properties options = new Properties();
        for (int i = 0; i < arguments.length; i++) {
            String name = arguments[i].substring(2);
            boolean flag = i + 1 == arguments.length || arguments[i + 1].startsWith("--");
            options.put(name, flag ? "" : arguments[++i]);
        }
        return options;
    }
}
