// Apache's own producer and consumer, by assignment: no group is involved. Run as a single source file.

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Clients {
    static final int RECORDS = 1000;

    static void same(String what, Object got, Object expected) {
        if (!got.equals(expected)) {
            throw new AssertionError(what + ": got " + got + ", expected " + expected);
        }
    }

    public static void main(String[] args) throws Exception {
        String servers = System.getenv("GLASSHOUSE_KAFKA");
        Properties config = new Properties();
        config.put("bootstrap.servers", servers);
        try (Admin admin = Admin.create(config)) {
            same("nodes", admin.describeCluster().nodes().get().size(), 3);
            for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
                String topic = args[0] + "-" + codec;
                admin.createTopics(List.of(new NewTopic(topic, 2, (short) 3))).all().get();
                produce(servers, topic, codec);
                consume(servers, topic);
                System.out.println("ok " + codec);
            }
            same("topics", admin.listTopics().names().get().containsAll(Set.of(args[0] + "-none", args[0] + "-zstd")), true);
        }
    }

    /** Idempotent, as Java's producer is by default. */
    static void produce(String servers, String topic, String codec) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", servers);
        config.put("compression.type", codec);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            for (int n = 0; n < RECORDS; n++) {
                sent.add(producer.send(new ProducerRecord<>(topic, "k" + n % 13, "v" + n)));
            }
            producer.flush();
        }
        Set<String> places = new HashSet<>();
        for (Future<RecordMetadata> one : sent) {
            places.add(one.get().partition() + "@" + one.get().offset());
        }
        same("places", places.size(), RECORDS);
    }

    static void consume(String servers, String topic) {
        Properties config = new Properties();
        config.put("bootstrap.servers", servers);
        Set<String> values = new HashSet<>();
        try (var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
            var parts = List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1));
            consumer.assign(parts);
            consumer.seekToBeginning(parts);
            long deadline = System.nanoTime() + Duration.ofSeconds(60).toNanos();
            while (values.size() < RECORDS && System.nanoTime() < deadline) {
                consumer.poll(Duration.ofMillis(200)).forEach(record -> values.add(record.value()));
            }
            Map<TopicPartition, Long> ends = consumer.endOffsets(parts);
            same("ends", ends.values().stream().mapToLong(Long::longValue).sum(), (long) RECORDS);
        }
        same("values", values.size(), RECORDS);
    }
}
