// The Java driver's share of the agreement: some of everything, and a line of JSON for each command it sent.
// java -cp DRIVER MongodbJava.java URI ROUNDS COMPRESSOR

import com.mongodb.ConnectionString;
import com.mongodb.MongoClientSettings;
import com.mongodb.MongoCommandException;
import com.mongodb.MongoCompressor;
import com.mongodb.MongoException;
import com.mongodb.WriteConcern;
import com.mongodb.client.ClientSession;
import com.mongodb.client.MongoClient;
import com.mongodb.client.MongoClients;
import com.mongodb.client.MongoCollection;
import com.mongodb.client.MongoDatabase;
import com.mongodb.client.model.Filters;
import com.mongodb.client.model.InsertManyOptions;
import com.mongodb.client.model.Sorts;
import com.mongodb.client.model.Updates;
import com.mongodb.event.CommandFailedEvent;
import com.mongodb.event.CommandListener;
import com.mongodb.event.CommandStartedEvent;
import com.mongodb.event.CommandSucceededEvent;
import java.util.ArrayList;
import java.util.Date;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.bson.BsonDocument;
import org.bson.BsonInt32;
import org.bson.BsonValue;
import org.bson.Document;

public class MongodbJava {
    static class Listener implements CommandListener {
        private final Map<Integer, Document> started = new ConcurrentHashMap<>();

        @Override
        public void commandStarted(CommandStartedEvent event) {
            BsonDocument command = event.getCommand();
            BsonValue own = command.get(event.getCommandName().equals("getMore") ? "collection" : event.getCommandName());
            BsonValue w = command.getDocument("writeConcern", new BsonDocument()).get("w");
            started.put(event.getRequestId(), new Document("request_id", event.getRequestId())
                .append("command", event.getCommandName())
                .append("database", event.getDatabaseName())
                .append("collection", own.isString() ? own.asString().getValue() : "")
                .append("error_code", 0)
                .append("nreturned", null)
                .append("n", null)
                .append("acknowledged", !new BsonInt32(0).equals(w)));
        }

        @Override
        public void commandSucceeded(CommandSucceededEvent event) {
            Document told = started.remove(event.getRequestId());
            BsonDocument reply = event.getResponse();
            if (reply.containsKey("writeErrors")) {
                told.put("error_code", reply.getArray("writeErrors").get(0).asDocument().getNumber("code").intValue());
            }
            if (reply.containsKey("n")) {
                told.put("n", reply.getNumber("n").intValue());
            }
            if (reply.isDocument("cursor")) {
                BsonDocument cursor = reply.getDocument("cursor");
                BsonValue batch = cursor.get("firstBatch", cursor.get("nextBatch"));
                told.put("nreturned", batch == null ? null : batch.asArray().size());
            }
            System.out.println(told.toJson());
        }

        @Override
        public void commandFailed(CommandFailedEvent event) {
            Document told = started.remove(event.getRequestId());
            if (event.getThrowable() instanceof MongoCommandException failure) {
                told.put("error_code", failure.getErrorCode());
                System.out.println(told.toJson());
            }
        }
    }

    static void fails(Runnable action) {
        try {
            action.run();
        } catch (MongoException asked) {
            return;
        }
        throw new AssertionError("it was to fail");
    }

    static List<Document> documents(int count, double first, int bytes) {
        List<Document> made = new ArrayList<>();
        for (int n = 0; n < count; n++) {
            made.add(new Document("_id", first + n).append("n", n).append("text", "y".repeat(bytes)));
        }
        return made;
    }

    public static void main(String[] arguments) {
        String compressor = arguments[2];
        List<MongoCompressor> compressors = switch (compressor) {
            case "zlib" -> List.of(MongoCompressor.createZlibCompressor());
            case "snappy" -> List.of(MongoCompressor.createSnappyCompressor());
            case "zstd" -> List.of(MongoCompressor.createZstdCompressor());
            default -> List.of();
        };
        MongoClientSettings settings = MongoClientSettings.builder()
            .applyConnectionString(new ConnectionString(arguments[0]))
            .applicationName("java-" + compressor)
            .compressorList(compressors)
            .addCommandListener(new Listener())
            .build();
        try (MongoClient client = MongoClients.create(settings)) {
            MongoDatabase database = client.getDatabase("l7top_agreement");
            MongoCollection<Document> orders = database.getCollection("java");
            orders.deleteMany(new Document());
            for (int round = 0; round < Integer.parseInt(arguments[1]); round++) {
                someOfEverything(client, database, orders, round);
            }
        }
    }

    static void someOfEverything(
        MongoClient client, MongoDatabase database, MongoCollection<Document> orders, int round) {
        int base = round * 1000;
        orders.insertOne(new Document("_id", base).append("text", "x".repeat(round % 700)).append("at", new Date()));
        orders.insertMany(documents(20, base + 1, 30));
        if (round % 5 == 0) {
            orders.insertMany(documents(300, base + 100.5, 60));
        }
        fails(() -> orders.insertMany(
            List.of(new Document("_id", base), new Document("_id", base + 50)), new InsertManyOptions().ordered(false)));
        orders.find(Filters.gte("n", 3)).batchSize(7).limit(30).sort(Sorts.ascending("n")).into(new ArrayList<>());
        orders.find(Filters.eq("_id", base)).first();
        orders.updateOne(Filters.eq("_id", base), Updates.combine(Updates.set("state", "new"), Updates.inc("n", 1.5)));
        orders.updateMany(Filters.lt("n", 5), Updates.unset("state"));
        orders.findOneAndUpdate(Filters.eq("_id", base), Updates.set("state", "old"));
        orders.aggregate(List.of(
            Document.parse("{$match: {n: {$gt: 2}}}"), Document.parse("{$group: {_id: '$n', c: {$sum: 1}}}")
        )).into(new ArrayList<>());
        orders.countDocuments(Filters.eq("n", 3));
        orders.estimatedDocumentCount();
        orders.distinct("n", Double.class);
        database.listCollectionNames().into(new ArrayList<>());
        fails(() -> database.runCommand(new Document("frobnicate", 1)));
        fails(() -> orders.find(new Document("$bad", 1)).first());
        orders.withWriteConcern(WriteConcern.UNACKNOWLEDGED).insertOne(new Document("_id", base + 90));
        try (ClientSession session = client.startSession()) {
            session.withTransaction(() -> {
                orders.insertOne(session, new Document("_id", -1 - round));
                return orders.find(session, Filters.eq("_id", -1 - round)).first();
            });
        }
        orders.deleteMany(Filters.gte("_id", base));
    }
}
