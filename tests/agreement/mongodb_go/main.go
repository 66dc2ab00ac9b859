// The Go driver's share of the agreement: some of everything, and a line of JSON for each command it sent.
// go run . URI ROUNDS COMPRESSOR
package main

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/event"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
)

type command struct {
	RequestID    int64  `json:"request_id"`
	Command      string `json:"command"`
	Database     string `json:"database"`
	Collection   string `json:"collection"`
	ErrorCode    int32  `json:"error_code"`
	Returned     *int   `json:"nreturned"`
	N            *int64 `json:"n"`
	Acknowledged bool   `json:"acknowledged"`
}

var (
	lock    sync.Mutex
	started = map[int64]*command{}
	out     = json.NewEncoder(os.Stdout)
)

func begin(_ context.Context, e *event.CommandStartedEvent) {
	own := e.Command.Lookup(e.CommandName)
	if e.CommandName == "getMore" {
		own = e.Command.Lookup("collection")
	}
	collection, _ := own.StringValueOK()
	w, unacknowledged := e.Command.Lookup("writeConcern", "w").AsInt64OK()
	lock.Lock()
	defer lock.Unlock()
	started[e.RequestID] = &command{
		RequestID: e.RequestID, Command: e.CommandName, Database: e.DatabaseName, Collection: collection,
		Acknowledged: !unacknowledged || w != 0,
	}
}

func end(id int64, reply bson.Raw, code int32) {
	lock.Lock()
	defer lock.Unlock()
	told := started[id]
	told.ErrorCode = code
	if first, err := reply.LookupErr("writeErrors", "0", "code"); err == nil {
		told.ErrorCode = first.AsInt32()
	}
	for _, name := range []string{"firstBatch", "nextBatch"} {
		if batch, err := reply.LookupErr("cursor", name); err == nil {
			values, _ := batch.Array().Values()
			count := len(values)
			told.Returned = &count
		}
	}
	if n, ok := reply.Lookup("n").AsInt64OK(); ok {
		told.N = &n
	}
	out.Encode(told)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	uri, compressor := os.Args[1], os.Args[3]
	rounds, err := strconv.Atoi(os.Args[2])
	must(err)
	ctx := context.Background()
	monitor := &event.CommandMonitor{
		Started:   begin,
		Succeeded: func(_ context.Context, e *event.CommandSucceededEvent) { end(e.RequestID, e.Reply, 0) },
		Failed: func(_ context.Context, e *event.CommandFailedEvent) {
			// Of a failure it tells the text only: "(CommandNotFound) no such command".
			code := map[string]int32{"(CommandNotFound": 59, "(BadValue": 2, "(NamespaceNotFound": 26}[strings.Split(e.Failure, ")")[0]]
			end(e.RequestID, nil, code)
		},
	}
	settings := options.Client().ApplyURI(uri).SetMonitor(monitor).SetAppName("go-" + compressor)
	if compressor != "none" {
		settings.SetCompressors([]string{compressor})
	}
	client, err := mongo.Connect(ctx, settings)
	must(err)
	database := client.Database("l7top_agreement")
	orders := database.Collection("go")
	must(orders.Drop(ctx))
	for round := 0; round < rounds; round++ {
		base := round * 100
		_, err = orders.InsertOne(ctx, bson.D{{"_id", base}, {"text", strings.Repeat("x", round%700)}, {"at", time.Now()}})
		must(err)
		count := 20
		if round%5 == 0 {
			count = 320
		}
		documents := []any{}
		for n := 0; n < count; n++ {
			documents = append(documents, bson.D{{"_id", float64(base) + 1 + float64(n)/10}, {"n", n}, {"text", strings.Repeat("y", 30)}})
		}
		_, err = orders.InsertMany(ctx, documents)
		must(err)
		_, err = orders.InsertMany(ctx, []any{bson.D{{"_id", base}}, bson.D{{"_id", base + 90}}}, options.InsertMany().SetOrdered(false))
		if err == nil {
			panic("it was to fail")
		}
		cursor, err := orders.Find(ctx, bson.D{{"n", bson.D{{"$gte", 3}}}}, options.Find().SetBatchSize(7).SetLimit(30).SetSort(bson.D{{"n", 1}}))
		must(err)
		var found []bson.M
		must(cursor.All(ctx, &found))
		must(orders.FindOne(ctx, bson.D{{"_id", base}}).Err())
		_, err = orders.UpdateOne(ctx, bson.D{{"_id", base}}, bson.D{{"$set", bson.D{{"state", "new"}}}, {"$inc", bson.D{{"n", 1.5}}}})
		must(err)
		must(orders.FindOneAndUpdate(ctx, bson.D{{"_id", base}}, bson.D{{"$set", bson.D{{"state", "old"}}}}).Err())
		cursor, err = orders.Aggregate(ctx, bson.A{bson.D{{"$match", bson.D{{"n", bson.D{{"$gt", 2}}}}}}, bson.D{{"$group", bson.D{{"_id", "$n"}, {"c", bson.D{{"$sum", 1}}}}}}})
		must(err)
		must(cursor.All(ctx, &found))
		_, err = orders.CountDocuments(ctx, bson.D{{"n", 3}})
		must(err)
		_, err = orders.Distinct(ctx, "n", bson.D{})
		must(err)
		if database.RunCommand(ctx, bson.D{{"frobnicate", 1}}).Err() == nil {
			panic("it was to fail")
		}
		if _, err = orders.Find(ctx, bson.D{{"$bad", 1}}); err == nil {
			panic("it was to fail")
		}
		session, err := client.StartSession()
		must(err)
		_, err = session.WithTransaction(ctx, func(inside mongo.SessionContext) (any, error) {
			return orders.InsertOne(inside, bson.D{{"_id", -1 - round}})
		})
		must(err)
		session.EndSession(ctx)
		_, err = orders.DeleteMany(ctx, bson.D{{"_id", bson.D{{"$gte", base}}}})
		must(err)
	}
	must(client.Disconnect(ctx))
}
