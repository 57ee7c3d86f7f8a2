#include "router/plan.hpp"

namespace weir::router {

std::string_view name_of(Verb verb) noexcept {
  switch (verb) {
    case Verb::empty:
      return "empty";
    case Verb::query:
      return "query";
    case Verb::dml:
      return "dml";
    case Verb::copy_from:
      return "copy from";
    case Verb::copy_to:
      return "copy to";
    case Verb::begin:
      return "begin";
    case Verb::commit:
      return "commit";
    case Verb::rollback:
      return "rollback";
    case Verb::savepoint:
      return "savepoint";
    case Verb::release_savepoint:
      return "release savepoint";
    case Verb::rollback_to_savepoint:
      return "rollback to savepoint";
    case Verb::set:
      return "set";
    case Verb::set_local:
      return "set local";
    case Verb::set_transaction:
      return "set transaction";
    case Verb::set_constraints:
      return "set constraints";
    case Verb::reset:
      return "reset";
    case Verb::reset_all:
      return "reset all";
    case Verb::discard_all:
      return "discard all";
    case Verb::deallocate:
      return "deallocate";
    case Verb::deallocate_all:
      return "deallocate all";
    case Verb::prepare:
      return "prepare";
    case Verb::execute:
      return "execute";
    case Verb::listen:
      return "listen";
    case Verb::unlisten:
      return "unlisten";
    case Verb::own_setting:
      return "own setting";
    case Verb::utility:
      return "utility";
    case Verb::multi:
      return "multi";
    case Verb::unparsable:
      return "unparsable";
  }
  return "unknown";
}

bool changes_routing(std::string_view setting) noexcept {
  return setting == "search_path" || setting == "standard_conforming_strings" || setting == "client_encoding";
}

}  // namespace weir::router
