#include "base/strings.hpp"
#include "config/load.hpp"
#include "config/rows.hpp"

namespace weir::config {
namespace {

template <class S>
void describe_rows(std::string_view table, const S& settings, std::vector<Setting>& out) {
  static const S defaults{};
  for (const Row<S>& row : rows_of<S>())
    out.push_back({concat(table, ".", row.key), row.facts.secret ? "(secret)" : row.show(settings),
                   row.facts.secret ? "" : row.show(defaults), row.facts.reload == Reload::yes});
}

}  // namespace

std::vector<Setting> describe(const Settings& settings) {
  std::vector<Setting> out;
  describe_rows("listen", settings.listen, out);
  describe_rows("admin", settings.admin, out);
  describe_rows("log", settings.log, out);
  describe_rows("auth", settings.auth, out);
  describe_rows("tls", settings.tls, out);
  describe_rows("pool", settings.pool, out);
  describe_rows("health", settings.health, out);
  return out;
}

}  // namespace weir::config
