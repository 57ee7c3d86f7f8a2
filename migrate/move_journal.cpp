#include "migrate/move_journal.hpp"

#include <unistd.h>

#include <sstream>

#include "migrate/config_edit.hpp"
#include "migrate/session.hpp"

namespace weir::migrate {

namespace {

constexpr const char* kTitle =
    "# weirctl move-buckets is under way (or was killed: run it with --recover). Do not edit.\n";

std::uint64_t number(const std::string& text, const std::string& path) {
  try {
    return std::stoull(text);
  } catch (const std::exception&) {
    throw Failure(path + ": \"" + text + "\" is no number; this is no journal of weirctl move-buckets");
  }
}

}  // namespace

std::string MoveJournal::path_for(const std::string& config_file) { return config_file + ".move"; }

void MoveJournal::save(const std::string& config_file) const {
  std::ostringstream text;
  text << kTitle << "database\t" << database << "\nfrom\t" << from << "\nto\t" << to << "\nbuckets\t" << buckets
       << "\nold_version\t" << old_version << "\nnew_version\t" << new_version << "\ncopying\t" << copying
       << "\ndeleting\t" << deleting << "\n";
  for (const auto& [table, sum] : copied) text << "copied\t" << table << "\t" << sum.rows << "\t" << sum.sum << "\n";
  const std::string path = path_for(config_file);
  write_beside(config_file, path + "-new", text.str());
  replace_file(path + "-new", path);
}

std::optional<MoveJournal> MoveJournal::load(const std::string& config_file) {
  const std::string path = path_for(config_file);
  if (::access(path.c_str(), F_OK) != 0) return std::nullopt;
  std::istringstream lines(read_file(path));
  MoveJournal journal;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream parts(line);
    std::string key, value, rows, sum;
    std::getline(parts, key, '\t');
    std::getline(parts, value, '\t');
    if (key == "database") journal.database = value;
    if (key == "from") journal.from = value;
    if (key == "to") journal.to = value;
    if (key == "buckets") journal.buckets = value;
    if (key == "old_version") journal.old_version = number(value, path);
    if (key == "new_version") journal.new_version = number(value, path);
    if (key == "copying") journal.copying = value == "1";
    if (key == "deleting") journal.deleting = value == "1";
    if (key == "copied" && std::getline(parts, rows, '\t') && std::getline(parts, sum, '\t'))
      journal.copied[value] = {rows, sum};
  }
  if (journal.database.empty() || journal.buckets.empty() || journal.new_version != journal.old_version + 1)
    throw Failure(path + " is no journal of weirctl move-buckets");
  return journal;
}

void MoveJournal::remove(const std::string& config_file) { ::unlink(path_for(config_file).c_str()); }

}  // namespace weir::migrate
