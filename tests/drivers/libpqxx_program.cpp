// libpqxx (6.4 or later) over libpq: prepared statements, its pipeline, streams of COPY, notification receivers.
#include <chrono>
#include <functional>
#include <future>
#include <iostream>
#include <pqxx/pqxx>
#include <pqxx/version>
#include <regex>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr int kClients = 8;
constexpr int kTransactions = 40;
constexpr std::size_t kBlobTotal = 10000UL * 1000;

std::string trust, scram, key;

struct NotInDriver : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class A, class B>
void expect(const A& found, const B& wanted) {
  if (!(found == wanted)) throw std::runtime_error("expected " + pqxx::to_string(wanted) + ", got " + pqxx::to_string(found));
}

void expect_error(const std::string& code, const std::function<void()>& act) {
  try {
    act();
  } catch (const pqxx::sql_error& error) {
    if (error.sqlstate() == code) return;
    throw;
  }
  throw std::runtime_error("no error " + code);
}

std::string one(pqxx::connection& connection, const std::string& sql) {
  pqxx::nontransaction work(connection);
  return work.exec1(sql)[0].as<std::string>("");
}

void run(pqxx::connection& connection, const std::string& sql) {
  pqxx::nontransaction work(connection);
  work.exec0(sql);
}

std::string item(pqxx::connection& connection, int id) {
  pqxx::nontransaction work(connection);
  return work.exec_params1("SELECT name FROM items WHERE user_id = $1 AND id = $2", key, id)[0].as<std::string>();
}

void select_one(const std::string& url) {
  pqxx::connection connection(url);
  expect(one(connection, "SELECT 1"), "1");
}

void simple_query() {
  pqxx::connection connection(trust);
  run(connection, "INSERT INTO items (user_id, id, name) VALUES (" + key + ", 1, 'one')");
  expect(one(connection, "SELECT name FROM items WHERE user_id = " + key + " AND id = 1"), "one");
}

void parameters_text() {
  pqxx::connection connection(trust);
  pqxx::work work(connection);
  work.exec_params0("INSERT INTO items (user_id, id, name) VALUES ($1, $2, $3)", key, 2, "it's 'two' \\");
  work.commit();
  expect(work.conn().is_open(), true);
}

void parameters_binary() {
  pqxx::connection connection(trust);
  pqxx::work work(connection);
  work.exec_params0("INSERT INTO items (user_id, id, name) VALUES ($1, $2, convert_from($3, 'UTF8'))", key, 3, pqxx::binarystring("three"));
  expect(work.exec_params1("SELECT name FROM items WHERE user_id = $1 AND id = $2", key, 3)[0].as<std::string>(), "three");
  work.commit();
}

/** The same name on every connection, with another text behind it. */
void prepared_client(int i) {
  pqxx::connection connection(trust);
  connection.prepare("s", "SELECT name || '" + std::to_string(i) + "' FROM items WHERE user_id = $1 AND id = $2");
  for (int n = 0; n < kTransactions; ++n) {
    pqxx::work work(connection);
    expect(work.exec_prepared1("s", key, 1)[0].as<std::string>(), "one" + std::to_string(i));
    work.commit();
  }
}

void prepared() {
  std::vector<std::future<void>> clients;
  for (int i = 0; i < kClients; ++i) clients.push_back(std::async(std::launch::async, prepared_client, i));
  for (auto& client : clients) client.get();
}

/** libpqxx joins waiting statements in one Query message. */
void pipeline() {
  pqxx::connection connection(trust);
  pqxx::work work(connection);
  {
    pqxx::pipeline statements(work);
    for (int n = 100; n < 150; ++n)
      statements.insert("INSERT INTO items (user_id, id, name) VALUES (" + key + ", " + std::to_string(n) + ", 'batch')");
    statements.complete();
    const auto counted = statements.insert("SELECT count(*) FROM items WHERE user_id = " + key + " AND name = 'batch'");
    expect(statements.retrieve(counted)[0][0].as<int>(), 50);
    statements.complete();
  }
  work.commit();
}

void transaction() {
  pqxx::connection connection(trust);
  {
    pqxx::work work(connection);
    work.exec0("INSERT INTO items (user_id, id, name) VALUES (" + key + ", 200, 'kept')");
    pqxx::subtransaction undone(work, "a");
    undone.exec0("INSERT INTO items (user_id, id, name) VALUES (" + key + ", 201, 'undone')");
    undone.abort();
    work.commit();
  }
  {
    pqxx::work work(connection);
    work.exec0("DELETE FROM items WHERE user_id = " + key + " AND id = 200");
    work.abort();
  }
  expect(one(connection, "SELECT string_agg(name, ',') FROM items WHERE user_id = " + key + " AND id BETWEEN 200 AND 201"), "kept");
}

void copy_in() {
  pqxx::connection connection(trust);
  pqxx::work work(connection);
  pqxx::stream_to stream(work, "items", std::vector<std::string>{"user_id", "id", "name"});
  for (int n = 300; n < 400; ++n) stream << std::make_tuple(key, n, "copied");
  stream.complete();
  expect(work.exec1("SELECT count(*) FROM items WHERE user_id = " + key + " AND name = 'copied'")[0].as<int>(), 100);
  work.commit();
}

/** stream_from of libpqxx 6 asks for whole tables: COPY items TO STDOUT. */
void copy_out() {
  pqxx::connection connection(trust);
  pqxx::work work(connection);
  pqxx::stream_from stream(work, "items", std::vector<std::string>{"user_id", "name"});
  bool found = false;
  for (std::string row; stream.get_raw_line(row);) found = found || row == key + "\tone\n";
  expect(found, true);
}

struct Receiver : pqxx::notification_receiver {
  using pqxx::notification_receiver::notification_receiver;
  void operator()(const std::string& payload, int) override { heard = payload; }
  std::string heard;
};

void listen_notify() {
  pqxx::connection listener(trust);
  Receiver receiver(listener, "channel_" + key);
  pqxx::connection other(trust);
  run(other, "NOTIFY channel_" + key + ", 'hello'");
  listener.await_notification(15, 0);
  expect(receiver.heard, "hello");
}

void cancel() {
  pqxx::connection connection(trust);
  std::promise<void> ended;
  auto canceller = std::async(std::launch::async, [&, over = ended.get_future()] {   // one that comes before its statement does nothing
    while (over.wait_for(std::chrono::milliseconds(100)) == std::future_status::timeout) connection.cancel_query();
  });
  expect_error("57014", [&] { one(connection, "SELECT pg_sleep(60)"); });
  ended.set_value();
  canceller.get();
  expect(one(connection, "SELECT 1"), "1");
}

void statement_timeout() {
  pqxx::connection connection(trust);
  run(connection, "SET statement_timeout = '100ms'");
  expect_error("57014", [&] { one(connection, "SELECT pg_sleep(60)"); });
  expect(one(connection, "SELECT 1"), "1");
}

void settings() {
  pqxx::connection first(trust), other(trust);
  run(first, "SET search_path = pg_catalog, public");
  run(first, "SET TimeZone = 'Asia/Tokyo'");
  expect(one(other, "SHOW TimeZone") != "Asia/Tokyo", true);
  expect(one(first, "SHOW search_path"), "pg_catalog, public");
  expect(one(first, "SHOW TimeZone"), "Asia/Tokyo");
}

void startup_options() {
  pqxx::connection connection(trust + "?application_name=drivers&options=-c%20statement_timeout%3D12345%20-c%20search_path%3Dpublic");
  pqxx::connection other(trust);
  expect(one(other, "SHOW statement_timeout"), "0");
  expect(one(connection, "SHOW application_name"), "drivers");
  expect(one(connection, "SHOW statement_timeout"), "12345ms");
  expect(one(connection, "SHOW search_path"), "public");
}

void types() {
  const std::string values[] = {"{1,NULL,3}", R"({"a,b","c\"d",""})", R"({"k": [1, null, "ä"]})", "2024-02-29 12:34:56.789012+00",
                                "12345678901234567890.123456789"};
  pqxx::connection connection(trust);
  run(connection, "SET TimeZone = 'UTC'");
  pqxx::work work(connection);
  work.exec_params0("INSERT INTO typed (user_id, id, numbers, words, doc, at, amount) VALUES ($1, 1, $2, $3, $4, $5, $6)", key, values[0], values[1],
                    values[2], values[3], values[4]);
  const auto row = work.exec_params1("SELECT numbers, words, doc, at, amount FROM typed WHERE user_id = $1 AND id = 1", key);
  for (int i = 0; i < 5; ++i) expect(row[i].as<std::string>(), values[i]);
  work.commit();
}

void large_result() {
  pqxx::connection connection(trust);
  pqxx::work work(connection);
  pqxx::icursorstream stream(work, "SELECT id, body FROM blobs WHERE user_id = 7 ORDER BY id", "stream", 500);
  std::size_t total = 0;
  for (pqxx::result rows; stream >> rows;)
    for (const auto& row : rows) total += row[1].size();
  expect(total, kBlobTotal);
}

void error_recovery() {
  pqxx::connection connection(trust);
  {
    pqxx::work work(connection);
    const std::string again = "INSERT INTO items (user_id, id, name) VALUES (" + key + ", 1, 'again')";
    expect_error("23505", [&] { work.exec0(again); });
    work.abort();
  }
  expect(item(connection, 1), "one");
}

void no_key() {
  pqxx::connection connection(trust);
  expect(one(connection, "SELECT count(*) > 0 FROM items WHERE name = 'one'"), "t");
}

void server_restart() {
  pqxx::connection connection(trust);
  expect(item(connection, 1), "one");
  std::cout << "restart?" << std::endl;
  std::string answer;
  std::getline(std::cin, answer);
  expect(answer, "restarted");
  expect(item(connection, 1), "one");
}

std::string in_one_line(const char* text) {
  return std::regex_replace(std::string(text), std::regex("\\s+"), " ").substr(0, 300);
}

std::string outcome(const std::function<void()>& act) {
  try {
    act();
    return "ok";
  } catch (const NotInDriver& why) {
    return std::string("n/a ") + why.what();
  } catch (const pqxx::sql_error& error) {
    return (error.sqlstate() == "0A000" ? "refused 0A000 " : "FAILED " + error.sqlstate() + " ") + in_one_line(error.what());
  } catch (const std::exception& error) {
    return "FAILED " + in_one_line(error.what());
  }
}

}  // namespace

int main(int, char** arguments) {
  trust = arguments[1], scram = arguments[2], key = arguments[3];
  std::cout << "version ok " << PQXX_VERSION << std::endl;
  const std::vector<std::pair<std::string, std::function<void()>>> features = {
      {"connect_trust", [] { select_one(trust); }},
      {"connect_scram", [] { select_one(scram + "?sslmode=disable"); }},
      {"tls", [] { select_one(scram + "?sslmode=require"); }},
      {"channel_binding", [] { select_one(scram + "?sslmode=require&channel_binding=require"); }},
      {"simple_query", simple_query},
      {"parameters_text", parameters_text},
      {"parameters_binary", parameters_binary},
      {"prepared", prepared},
      {"pipeline", pipeline},
      {"transaction", transaction},
      {"copy_in", copy_in},
      {"copy_out", copy_out},
      {"listen_notify", listen_notify},
      {"cancel", cancel},
      {"statement_timeout", statement_timeout},
      {"settings", settings},
      {"startup_options", startup_options},
      {"types", types},
      {"large_result", large_result},
      {"error_recovery", error_recovery},
      {"no_key", no_key},
      {"server_restart", server_restart},
  };
  for (const auto& [name, act] : features) {
    const std::string how = outcome(act);
    std::cout << name << ' ' << how << std::endl;
  }
}
