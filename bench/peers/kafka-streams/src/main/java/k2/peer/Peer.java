package k2.peer;

import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.state.Stores;

/**
 * Reads canonical trades, and writes those whose number is new to its symbol, exactly once.
 *
 * <p>Arguments: bootstrap, source topic, output topic, application id, state directory. Runs until it
 * is terminated.
 */
public final class Peer {
  static final String STORE = "scopes";

  /** Records of one poll: Kafka Streams' default of 1,000 costs it a tenth of its rate. */
  private static final int MAX_POLL_RECORDS = 8_192;

  /** Longer than a commit of the local broker takes; then the process ends anyway. */
  private static final Duration CLOSE_WITHIN = Duration.ofSeconds(10);

  private Peer() {}

  public static void main(String[] arguments) throws InterruptedException {
    if (arguments.length != 5) {
      System.err.println("expected: BOOTSTRAP SOURCE OUTPUT APPLICATION STATE_DIRECTORY");
      System.exit(2);
    }
    KafkaStreams streams =
        new KafkaStreams(
            topology(arguments[1], arguments[2]),
            settings(arguments[0], arguments[3], arguments[4]));
    CountDownLatch ended = new CountDownLatch(1);
    streams.setStateListener(
        (now, before) -> {
          if (now == KafkaStreams.State.ERROR) {
            ended.countDown();
          }
        });
    streams.setUncaughtExceptionHandler(
        error -> {
          error.printStackTrace();
          return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler
              .StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
    Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(CLOSE_WITHIN)));
    streams.start();
    ended.await();
    System.exit(1);
  }

  private static Topology topology(String source, String output) {
    Topology topology = new Topology();
    topology.addSource("raw", new org.apache.kafka.common.serialization.StringDeserializer(),
        new org.apache.kafka.common.serialization.ByteArrayDeserializer(), source);
    topology.addProcessor("sequence", Sequencer::new, "raw");
    // Changes of a symbol between two commits reach RocksDB and the changelog once.
    topology.addStateStore(
        Stores.keyValueStoreBuilder(
                Stores.persistentKeyValueStore(STORE), Serdes.String(), Serdes.ByteArray())
            .withCachingEnabled(),
        "sequence");
    topology.addSink("accepted", output,
        new org.apache.kafka.common.serialization.StringSerializer(),
        new org.apache.kafka.common.serialization.ByteArraySerializer(), "sequence");
    return topology;
  }

  private static Properties settings(String bootstrap, String application, String state) {
    Properties settings = new Properties();
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, application);
    settings.put(StreamsConfig.STATE_DIR_CONFIG, state);
    settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
    settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
    settings.put(
        StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), MAX_POLL_RECORDS);
    settings.put(
        StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
    settings.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "lz4");
    return settings;
  }
}
