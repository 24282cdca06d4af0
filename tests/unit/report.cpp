#include "app/report/progress.h"
#include "app/report/table.h"
#include "tests/catch.h"

namespace zoo::test::report {

TEST_CASE("a table as text, Markdown and CSV", "[report]") {
  app::Table table({{"name"}, {"count", true}});
  table.add({"a|b", "7"});
  table.add({"\"é\", long", "1234"});
  CHECK(table.text() ==
        "name       count\n"
        "---------  -----\n"
        "a|b            7\n"
        "\"é\", long   1234\n");
  CHECK(table.markdown() == "| name | count |\n|---|---:|\n| a\\|b | 7 |\n| \"é\", long | 1234 |\n");
  CHECK(table.csv() == "name,count\na|b,7\n\"\"\"é\"\", long\",1234\n");
  CHECK_THROWS_AS(table.add({"one"}), std::logic_error);
}

TEST_CASE("numbers as people read them", "[report]") {
  CHECK(app::count_text(999) == "999");
  CHECK(app::count_text(1000) == "1.0 k");
  CHECK(app::count_text(999'960) == "1.0 M");
  CHECK(app::count_text(109'482'240) == "109.5 M");
  CHECK(app::bytes_text(1023) == "1023 B");
  CHECK(app::bytes_text(90'868'376) == "86.7 MiB");
  CHECK(app::bytes_text(uint64_t{1} << 40) == "1.0 TiB");
  CHECK(app::fixed_text(1e300, 1).size() == 303);
  CHECK(app::duration_text(0.045) == "45 ms");
  CHECK(app::duration_text(12.34) == "12.3 s");
  CHECK(app::duration_text(185) == "3 min 05 s");
  CHECK(app::duration_text(3599.6) == "1 h 00 min");
  CHECK(app::duration_text(3720) == "1 h 02 min");
}

}  // namespace zoo::test::report
