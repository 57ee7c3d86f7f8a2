// pgx: binary parameters and results, its statement cache, pipelines, COPY in binary, protocol 3.2 where asked.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

const (
	clients      = 8
	transactions = 40
	blobTotal    = 10000 * 1000
)

var (
	trust, scram = os.Args[1], os.Args[2]
	key, _       = strconv.ParseInt(os.Args[3], 10, 64)
	ctx          = context.Background()
	answers      = bufio.NewReader(os.Stdin)
)

type feature struct {
	name string
	act  func() error
}

func with(url string, options string, act func(*pgx.Conn) error) error {
	separator := "?"
	connection, err := pgx.Connect(ctx, url+separator+options)
	if err != nil {
		return err
	}
	defer connection.Close(ctx)
	return act(connection)
}

func trusted(act func(*pgx.Conn) error) func() error {
	return func() error { return with(trust, "sslmode=disable", act) }
}

func expect(found, wanted any) error {
	if !reflect.DeepEqual(found, wanted) {
		return fmt.Errorf("expected %v, got %v", wanted, found)
	}
	return nil
}

// one asks for one value.
func one[T any](c *pgx.Conn, wanted T, sql string, arguments ...any) error {
	var found T
	if err := c.QueryRow(ctx, sql, arguments...).Scan(&found); err != nil {
		return err
	}
	return expect(found, wanted)
}

func do(c *pgx.Conn, sql string, arguments ...any) error {
	_, err := c.Exec(ctx, sql, arguments...)
	return err
}

// all runs the steps up to the first that fails.
func all(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func sqlstate(err error) string {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return answer.Code
	}
	return ""
}

func expectError(code string, err error) error {
	if err != nil && sqlstate(err) == code {
		return nil
	}
	if err == nil {
		return fmt.Errorf("no error %s", code)
	}
	return fmt.Errorf("expected %s: %w", code, err)
}

func selectOne(c *pgx.Conn) error { return one(c, int32(1), "SELECT 1") }

func item(c *pgx.Conn, id int, wanted string, mode ...any) error {
	return one(c, wanted, "SELECT name FROM items WHERE user_id = $1 AND id = $2", append(mode, key, id)...)
}

func version() error {
	information, _ := debug.ReadBuildInfo()
	for _, module := range information.Deps {
		if strings.HasSuffix(module.Path, "jackc/pgx/v5") {
			fmt.Println("version ok " + module.Version)
		}
	}
	return nil
}

func tls(c *pgx.Conn) error { return selectOne(c) }

func simpleQuery(c *pgx.Conn) error {
	return all(
		func() error {
			return do(c, "INSERT INTO items (user_id, id, name) VALUES ($1, 1, 'one')", pgx.QueryExecModeSimpleProtocol, key)
		},
		func() error { return item(c, 1, "one", pgx.QueryExecModeSimpleProtocol) })
}

func parametersText(c *pgx.Conn) error {
	insert := "INSERT INTO items (user_id, id, name) VALUES ($1, $2, $3)"
	values := [][]byte{[]byte(strconv.FormatInt(key, 10)), []byte("2"), []byte("it's 'two' \\")}
	if result := c.PgConn().ExecParams(ctx, insert, values, nil, []int16{0}, []int16{0}).Read(); result.Err != nil {
		return result.Err
	}
	return item(c, 2, "it's 'two' \\", pgx.QueryResultFormats{pgx.TextFormatCode})
}

func parametersBinary(c *pgx.Conn) error {
	return all(
		func() error {
			return do(c, "INSERT INTO items (user_id, id, name) VALUES ($1, $2, $3)", key, 3, "three")
		},
		func() error { return item(c, 3, "three", pgx.QueryResultFormats{pgx.BinaryFormatCode}) })
}

func preparedClient(i int) error {
	return with(trust, "sslmode=disable", func(c *pgx.Conn) error {
		if _, err := c.Prepare(ctx, "s", fmt.Sprintf("SELECT %d FROM items WHERE user_id = $1 AND id = $2", i)); err != nil {
			return err
		}
		for range transactions {
			err := pgx.BeginFunc(ctx, c, func(pgx.Tx) error {
				return all(func() error { return one(c, int32(i), "s", key, 1) }, func() error { return item(c, 1, "one") })
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func prepared() error {
	failures := make([]error, clients)
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() { failures[i] = preparedClient(i) })
	}
	group.Wait()
	return errors.Join(failures...)
}

func pipeline(c *pgx.Conn) error {
	batch := &pgx.Batch{}
	for n := range 50 {
		batch.Queue("INSERT INTO items (user_id, id, name) VALUES ($1, $2, 'batch')", key, 100+n)
	}
	if err := c.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	return one(c, int64(50), "SELECT count(*) FROM items WHERE user_id = $1 AND name = 'batch'", key)
}

func transaction(c *pgx.Conn) error {
	undone := errors.New("undone")
	err := pgx.BeginFunc(ctx, c, func(outer pgx.Tx) error {
		if err := do(c, "INSERT INTO items (user_id, id, name) VALUES ($1, 200, 'kept')", key); err != nil {
			return err
		}
		err := pgx.BeginFunc(ctx, outer, func(pgx.Tx) error {
			return errors.Join(undone, do(c, "INSERT INTO items (user_id, id, name) VALUES ($1, 201, 'undone')", key))
		})
		if sqlstate(err) != "" || !errors.Is(err, undone) {
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = pgx.BeginFunc(ctx, c, func(pgx.Tx) error {
		return errors.Join(undone, do(c, "DELETE FROM items WHERE user_id = $1 AND id = 200", key))
	})
	if !errors.Is(err, undone) {
		return err
	}
	return one(c, "kept", "SELECT string_agg(name, ',') FROM items WHERE user_id = $1 AND id BETWEEN 200 AND 201", key)
}

func copyIn(c *pgx.Conn) error {
	rows := pgx.CopyFromSlice(100, func(n int) ([]any, error) { return []any{key, 300 + n, "copied"}, nil })
	if _, err := c.CopyFrom(ctx, pgx.Identifier{"items"}, []string{"user_id", "id", "name"}, rows); err != nil {
		return err
	}
	return one(c, int64(100), "SELECT count(*) FROM items WHERE user_id = $1 AND name = 'copied'", key)
}

func copyOut(c *pgx.Conn) error {
	var found bytes.Buffer
	if _, err := c.PgConn().CopyTo(ctx, &found, fmt.Sprintf("COPY (SELECT id, name FROM items WHERE user_id = %d AND id = 1) TO STDOUT", key)); err != nil {
		return err
	}
	return expect(found.String(), "1\tone\n")
}

func listenNotify(listener *pgx.Conn) error {
	channel := fmt.Sprintf("channel_%d", key)
	if err := do(listener, "LISTEN "+channel); err != nil {
		return err
	}
	if err := trusted(func(c *pgx.Conn) error { return do(c, "NOTIFY "+channel+", 'hello'") })(); err != nil {
		return err
	}
	limited, end := context.WithTimeout(ctx, 15*time.Second)
	defer end()
	heard, err := listener.WaitForNotification(limited)
	if err != nil {
		return err
	}
	return all(func() error { return expect(heard.Channel+heard.Payload, channel+"hello") }, func() error { return do(listener, "UNLISTEN *") })
}

func cancel(c *pgx.Conn) error {
	ended, over := make(chan struct{}), make(chan struct{})
	go func() { // a cancel that comes before its statement does nothing
		defer close(over)
		for tick := time.Tick(100 * time.Millisecond); ; {
			select {
			case <-tick:
				_ = c.PgConn().CancelRequest(ctx)
			case <-ended:
				return
			}
		}
	}()
	err := expectError("57014", do(c, "SELECT pg_sleep(60)"))
	close(ended)
	<-over
	return all(func() error { return err }, func() error { return selectOne(c) })
}

func statementTimeout(c *pgx.Conn) error {
	return all(func() error { return do(c, "SET statement_timeout = '100ms'") },
		func() error { return expectError("57014", do(c, "SELECT pg_sleep(60)")) }, func() error { return selectOne(c) })
}

func settings(first *pgx.Conn) error {
	return all(func() error { return do(first, "SET search_path = pg_catalog, public") }, func() error { return do(first, "SET TimeZone = 'Asia/Tokyo'") },
		trusted(func(other *pgx.Conn) error {
			if one(other, "Asia/Tokyo", "SHOW TimeZone") == nil {
				return errors.New("a setting reached another client")
			}
			return selectOne(other)
		}),
		func() error { return one(first, "pg_catalog, public", "SHOW search_path") },
		func() error { return one(first, "Asia/Tokyo", "SHOW TimeZone") })
}

func startupOptions() error {
	return with(trust, "sslmode=disable&application_name=drivers&statement_timeout=12345&search_path=public", func(c *pgx.Conn) error {
		return all(trusted(func(other *pgx.Conn) error { return one(other, "0", "SHOW statement_timeout") }),
			func() error { return one(c, "drivers", "SHOW application_name") },
			func() error { return one(c, "12345ms", "SHOW statement_timeout") },
			func() error { return one(c, "public", "SHOW search_path") })
	})
}

func types(c *pgx.Conn) error {
	numberOne, numberThree := int32(1), int32(3)
	numbers, words := []*int32{&numberOne, nil, &numberThree}, []string{"a,b", "c\"d", ""}
	document := map[string]any{"k": []any{1.0, nil, "ä"}}
	at := time.Date(2024, 2, 29, 12, 34, 56, 789012000, time.UTC)
	var amount pgtype.Numeric
	if err := amount.Scan("12345678901234567890.123456789"); err != nil {
		return err
	}
	insert := "INSERT INTO typed (user_id, id, numbers, words, doc, at, amount) VALUES ($1, 1, $2, $3, $4, $5, $6)"
	if err := do(c, insert, key, numbers, words, document, at, amount); err != nil {
		return err
	}
	for _, format := range []int16{pgx.TextFormatCode, pgx.BinaryFormatCode} {
		var foundNumbers []*int32
		var foundWords []string
		var foundDocument map[string]any
		var foundAt time.Time
		var foundAmount pgtype.Numeric
		err := c.QueryRow(ctx, "SELECT numbers, words, doc, at, amount FROM typed WHERE user_id = $1 AND id = 1", pgx.QueryResultFormats{format}, key).
			Scan(&foundNumbers, &foundWords, &foundDocument, &foundAt, &foundAmount)
		if err != nil {
			return err
		}
		err = all(func() error { return expect(foundNumbers, numbers) }, func() error { return expect(foundWords, words) },
			func() error { return expect(foundDocument, document) }, func() error { return expect(foundAt.UTC(), at) },
			func() error { return expect(foundAmount, amount) })
		if err != nil {
			return err
		}
	}
	return nil
}

// largeResult reads row by row, then by a cursor's FETCH.
func largeResult(c *pgx.Conn) error {
	total := 0
	rows, err := c.Query(ctx, "SELECT body FROM blobs WHERE user_id = $1", 7)
	if err != nil {
		return err
	}
	var body string
	if _, err = pgx.ForEachRow(rows, []any{&body}, func() error { total += len(body); return nil }); err != nil {
		return err
	}
	if err = expect(total, blobTotal); err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, c, func(pgx.Tx) error {
		if err := do(c, "DECLARE stream CURSOR FOR SELECT body FROM blobs WHERE user_id = 7 ORDER BY id"); err != nil {
			return err
		}
		for total = 0; ; {
			rows, _ := c.Query(ctx, "FETCH 500 FROM stream")
			tag, err := pgx.ForEachRow(rows, []any{&body}, func() error { total += len(body); return nil })
			if err != nil {
				return err
			}
			if tag.RowsAffected() == 0 {
				return expect(total, blobTotal)
			}
		}
	})
}

func errorRecovery(c *pgx.Conn) error {
	return all(func() error { return do(c, "BEGIN") },
		func() error {
			return expectError("23505", do(c, "INSERT INTO items (user_id, id, name) VALUES ($1, 1, 'again')", key))
		},
		func() error { return expectError("25P02", do(c, "SELECT 1")) },
		func() error { return do(c, "ROLLBACK") }, func() error { return item(c, 1, "one") })
}

func noKey(c *pgx.Conn) error {
	return one(c, true, "SELECT count(*) > 0 FROM items WHERE name = $1", "one")
}

func serverRestart(c *pgx.Conn) error {
	return all(func() error { return item(c, 1, "one") },
		func() error {
			fmt.Println("restart?")
			answer, err := answers.ReadString('\n')
			return errors.Join(err, expect(answer, "restarted\n"))
		},
		func() error { return item(c, 1, "one") })
}

func line(f feature) string {
	err := f.act()
	switch {
	case err == nil:
		return f.name + " ok"
	case sqlstate(err) == "0A000":
		return f.name + " refused 0A000 " + strings.Join(strings.Fields(err.Error()), " ")
	}
	return f.name + " FAILED " + strings.Join(strings.Fields(err.Error()), " ")
}

func main() {
	_ = version()
	for _, f := range []feature{
		{"connect_trust", trusted(selectOne)},
		{"connect_scram", func() error { return with(scram, "sslmode=disable", selectOne) }},
		{"tls", func() error { return with(scram, "sslmode=require", tls) }},
		{"channel_binding", func() error { return with(scram, "sslmode=require&channel_binding=require", selectOne) }},
		{"simple_query", trusted(simpleQuery)},
		{"parameters_text", trusted(parametersText)},
		{"parameters_binary", trusted(parametersBinary)},
		{"prepared", prepared},
		{"pipeline", trusted(pipeline)},
		{"transaction", trusted(transaction)},
		{"copy_in", trusted(copyIn)},
		{"copy_out", trusted(copyOut)},
		{"listen_notify", trusted(listenNotify)},
		{"cancel", trusted(cancel)},
		{"statement_timeout", trusted(statementTimeout)},
		{"settings", trusted(settings)},
		{"startup_options", startupOptions},
		{"types", trusted(types)},
		{"large_result", trusted(largeResult)},
		{"error_recovery", trusted(errorRecovery)},
		{"no_key", trusted(noKey)},
		{"server_restart", trusted(serverRestart)},
	} {
		fmt.Println(line(f))
	}
}
