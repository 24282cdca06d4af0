// Reading time series: dates, steps, calendar features (against pandas), splits, and files that are wrong.
#include "data/series.h"

#include "data/series_split.h"
#include "tests/catch.h"
#include "tests/cli/program.h"
#include "tests/external.h"

namespace series_tests {
using namespace zoo::data;
using zoo::test::has;
using zoo::test::message_of;
using zoo::test::Scratch;
using Json = nlohmann::ordered_json;

const Json& golden() {
  static const Json json = Json::parse(std::ifstream(std::string(ZOO_TEST_DIR) + "/fixtures/files/forecasting.json"));
  return json;
}

std::string read_error(const std::string& text, const SeriesOptions& options = {}) {
  const Scratch scratch;
  const auto file = scratch.write("x.csv", text);
  return message_of([&] { read_series(file, options); });
}

SeriesTable read_text(const std::string& text, const SeriesOptions& options = {}) {
  const Scratch scratch;
  return read_series(scratch.write("x.csv", text), options);
}

std::string notes(const SeriesTable& table) {
  std::string all;
  for (const auto& note : table.notes) all += note + "\n";
  return all;
}

// Rows of one column at these dates.
std::string file_of(const std::vector<std::string>& dates) {
  std::string text = "date,a\n";
  for (size_t i = 0; i < dates.size(); ++i) text += dates[i] + "," + std::to_string(i % 7) + "\n";
  return text;
}

TEST_CASE("time zones that are mixed are told", "[series]") {
  CHECK(has(notes(read_text(file_of({"2020-01-01T00:00:00Z", "2020-01-01T01:00:00", "2020-01-01T02:00:00Z"}))), "2 of 3 dates tell their time zone"));
  CHECK(notes(read_text(file_of({"2020-01-01T00:00:00Z", "2020-01-01T02:00:00+01:00", "2020-01-01 02:00 UTC"}))).empty());
  CHECK(notes(read_text(file_of({"2020-01-01 00:00", "2020-01-01 01:00", "2020-01-01 02:00"}))).empty());
  CHECK(has(read_error(file_of({"2020-01-01T00:00:00+01:00", "2020-01-01T01:00:00+03:00"})), "comes after 2019-12-31 23:00:00 in UTC"));
}

TEST_CASE("dates in the forms that files use", "[series]") {
  const Time noon = *make_time(2016, 7, 1, 12, 30, 0);
  for (const char* text : {"2016-07-01 12:30:00", "2016-07-01 12:30", "2016/7/1 12:30", "2016-07-01T12:30:00Z", "2016-07-01T12:30:00.000Z",
                           "2016-07-01T14:30:00+02:00", "2016-07-01 07:00:00-0530", "1.7.2016 12:30", "7/1/2016 12:30", "07/01/2016 12:30:00 PM",
                           "20160701 12:30", " 2016-07-01  12:30:00 ", "2016-07-01 12:30:00 UTC"}) {
    INFO(text);
    CHECK(parse_date(text) == noon);
  }
  CHECK(parse_date("1/7/2016 12:30", true) == noon);
  CHECK(parse_date("2016-07-01") == make_time(2016, 7, 1));
  CHECK(parse_date("20160701") == make_time(2016, 7, 1));
  CHECK(parse_date("2016-07") == make_time(2016, 7, 1));
  CHECK(parse_date("2016Q3") == make_time(2016, 7, 1));
  CHECK(parse_date("2016-Q3") == make_time(2016, 7, 1));
  CHECK(parse_date("2016") == make_time(2016, 1, 1));
  CHECK(parse_date("2016-07-01 24:00") == make_time(2016, 7, 2));
  CHECK(parse_date("2016-07-01 12:00 AM") == make_time(2016, 7, 1));
  CHECK(parse_unix_time("1467376200") == noon);
  CHECK(parse_unix_time("1467376200000") == noon);
  for (const char* text : {"", "x", "2016-13-01", "2016-02-30", "2017-02-29", "2016-07-01 25:00", "2016-07-01 12:60", "2016-07-01 12:30:00.5", "12:30",
                           "2016-07-01 12:30 o'clock", "2016-07-01T", "13/13/2016", "0000-01-01", "2016-7-1-1", "99999999999", "2016-07-01 13:00 PM"}) {
    INFO(text);
    CHECK_FALSE(parse_date(text).has_value());
  }
  CHECK(date_text(noon) == "2016-07-01 12:30:00");
  CHECK(date_text(*make_time(1969, 7, 20, 20, 17, 40)) == "1969-07-20 20:17:40");
}

TEST_CASE("calendar features equal pandas'", "[series]") {
  const auto& calendar = golden().at("calendar");
  std::vector<Time> dates;
  for (size_t i = 0; i < calendar.at("dates").size(); ++i) {
    dates.push_back(*parse_date(calendar.at("dates")[i].get<std::string>()));
    CHECK(dates.back() == calendar.at("unix")[i].get<int64_t>());
  }
  for (const auto& [resolution, rows] : calendar.at("features").items()) {
    INFO(resolution);
    const at::Tensor features = calendar_features(dates, resolution);
    REQUIRE(features.size(1) == int64_t(rows[0].size()));
    CHECK(features.size(1) == calendar_width(resolution));
    for (size_t i = 0; i < rows.size(); ++i)
      for (size_t f = 0; f < rows[i].size(); ++f) CHECK(features[i][f].item<float>() == Approx(rows[i][f].get<double>()).margin(1e-7));
  }
  CHECK(has(message_of([&] { calendar_features(dates, "fortnight"); }), "expected one of second, minute, hour"));
}

TEST_CASE("the step is found, and dates go on as pandas' do", "[series]") {
  for (const auto& [name, list] : golden().at("ranges").items()) {
    INFO(name);
    std::vector<Time> dates;
    for (const auto& text : list) dates.push_back(*parse_date(text.get<std::string>()));
    const auto step = infer_frequency(std::span(dates).first(30));
    CHECK(step.name() == name);
    CHECK(parse_frequency(step.name()) == step);
    for (size_t i = 1; i < dates.size(); ++i) {
      CHECK(step.advance(dates[29], 1) == dates[30]);
      CHECK(step.steps(dates[i - 1], dates[i]) == 1);
    }
    CHECK(step.advance(dates[0], int64_t(dates.size()) - 1) == dates.back());
  }
  CHECK_FALSE(infer_frequency(std::vector<Time>{0}).known());
  CHECK(default_season(*parse_frequency("1 hour")) == 24);
  CHECK(default_season(*parse_frequency("15 minutes")) == 96);
  CHECK(default_season(*parse_frequency("1 day")) == 7);
  CHECK(default_season(*parse_frequency("1 month")) == 12);
  CHECK(default_season(*parse_frequency("1 year")) == 1);
}

TEST_CASE("columns of dates are found by name, by form, and in parts", "[series]") {
  CHECK(read_text("x,Timestamp\n1,2020-01-01\n2,2020-01-02\n").date_column == "Timestamp");
  CHECK(read_text("x,when\n1,2020-01-01\n2,2020-01-02\n").date_column == "when");
  CHECK(read_text("timestamp,x\n1577836800,1\n1577840400,2\n").frequency.name() == "1 hour");
  const auto parts = read_text("No,year,month,day,hour,pm2.5,wind\n1,2010,1,1,0,NA,NW\n2,2010,1,1,1,129,NW\n", {"", {"pm2.5"}});
  CHECK(parts.dates[1] == make_time(2010, 1, 1, 1));
  CHECK(parts.values[0][0].item<double>() == 129);
  CHECK(has(notes(parts), "1 at the start"));
  const auto spaced = read_text("date, Grid load forecast,OT\n2013/1/1 0:00,42497, 31.05\n2013/1/1 1:00,41463,30.47\n");
  CHECK(spaced.columns == std::vector<std::string>{"Grid load forecast", "OT"});
  CHECK(spaced.values[0][1].item<double>() == 31.05);
  CHECK(read_text("date;a\n1.2.2020;1\n2.2.2020;2\n").frequency.name() == "1 day");
  CHECK(read_text("\xEF\xBB\xBF" "date,a\r\n2020-01-01,1\r\n2020-01-02,2\r\n").rows() == 2);
  CHECK(has(notes(read_text(",date,a\n0,2020-01-01,1\n1,2020-01-02,2\n")), "column 1 has no name"));
  CHECK(read_text("date,a,b\n2020-01-01,1,x\n2020-01-02,2,y\n", {"", {}, {"b"}}).columns == std::vector<std::string>{"a"});
  // 13 can be no month: the whole file is read day first.
  CHECK(read_text("date,a\n12/01/2020,1\n13/01/2020,2\n").dates[0] == make_time(2020, 1, 12));
  CHECK(has(notes(read_text("date,a\n1/1/2020,1\n1/2/2020,2\n")), "month/day/year"));
}

TEST_CASE("missing values, gaps and constant columns are told", "[series]") {
  const std::string text = "date,a,b\n2020-01-01,1,5\n2020-01-02,,5\n2020-01-03,nan,5\n2020-01-05,4,5\n";
  const auto kept = read_text(text);
  CHECK(kept.missing == 2);
  CHECK(kept.values[2][0].item<double>() == 1);
  CHECK(kept.gaps == 1);
  CHECK(kept.gap_steps == 1);
  CHECK(has(notes(kept), "2 missing values, the first at line 3, column 'a'"));
  CHECK(has(notes(kept), "1 jumps in the dates (step: 1 day), the first after 2020-01-03 00:00:00 (line 4); 1 rows are lacking"));
  CHECK(has(notes(kept), "constant, so without anything to learn: 'b'"));
  SeriesOptions options;
  options.gaps = SeriesOptions::Gaps::fill;
  const auto filled = read_text(text, options);
  CHECK(filled.rows() == 5);
  CHECK(filled.dates[3] == make_time(2020, 1, 4));
  CHECK(filled.values[3][0].item<double>() == 1);
  options.gaps = SeriesOptions::Gaps::refuse;
  CHECK(has(read_error(text, options), "1 jumps in the dates"));
  options = {};
  options.refuse_missing = true;
  CHECK(has(read_error(text, options), "x.csv:3: column 'a': the value is missing"));
  CHECK(has(read_error("date,a\n2020-01-01,\n2020-01-02,NA\n"), "column 'a' holds no value at all"));
  options = {};
  options.gaps = SeriesOptions::Gaps::fill;
  CHECK(has(read_error("date,a\n1000-01-01 00:00:00,1\n1000-01-01 00:00:01,2\n1000-01-01 00:00:02,2\n9999-01-01 00:00:00,1\n", options), "that is no gap any more"));
}

TEST_CASE("a damaged file is named with line and column", "[series]") {
  CHECK(has(read_error("date,a\n2020-01-01,1\n2020-01-02,two\n"), "x.csv:3: column 'a': 'two' is not a number"));
  CHECK(has(read_error("date,a\n2020-01-01,1\n2020-01-02,inf\n"), "x.csv:3: column 'a': 'inf' is not finite"));
  CHECK(has(read_error("date,a\n2020-01-01,1\n2020-01-02,1e999\n"), "x.csv:3: column 'a': '1e999' is not finite"));
  CHECK(has(read_error("date,a\n2020-01-01,1\n2020-01-01,2\n"), "x.csv:3: the date 2020-01-01 00:00:00 is that of line 2 already"));
  CHECK(has(read_error("date,a\n2020-01-02,1\n2020-01-01,2\n"), "x.csv:3: the date 2020-01-01 00:00:00 comes after 2020-01-02 00:00:00; rows must be in the order of time (the option sort=true"));
  CHECK(has(read_error("date,a\n2020-01-01,1\nsoon,2\n"), "x.csv:3: column 'date': 'soon' is not a date"));
  CHECK(has(read_error("date,a\n2020-01-01,1\n2020-01-02\n"), "x.csv:3: 1 fields"));
  CHECK(has(read_error("date,a,a\n2020-01-01,1,2\n"), "column 'a' comes twice"));
  CHECK(has(read_error("a,b\n1,2\n"), "no column of dates is found (columns: a, b)"));
  CHECK(has(read_error("2020-01-01,5\n2020-01-02,6\n"), "a header with the columns' names is expected"));
  CHECK(has(read_error("date,a\n"), "holds a header only"));
  CHECK(has(read_error(""), "empty"));
  CHECK(has(read_error("date\n2020-01-01\n"), "no column of numbers is left"));
  CHECK(has(read_error("date,abc\n2020-01-01,1\n", {"", {"abd"}}), "no column 'abd'; nearest: abc"));
  CHECK(has(read_error(std::string("date,a\n2020-01-01,\0", 20)), "NUL bytes"));
  CHECK(has(message_of([] { read_series("/nowhere/x.csv"); }), "no such file"));
  SeriesOptions sorted;
  sorted.sort = true;
  const auto table = read_text("date,a\n2020-01-02,1\n2020-01-01,2\n", sorted);
  CHECK(table.values[0][0].item<double>() == 2);
  CHECK(has(notes(table), "have been sorted"));
  CHECK(has(read_error("date,a\n2020-01-02,1\n2020-01-01,2\n2020-01-02,3\n", sorted), "is that of line 2 already"));
}

SeriesTable hourly(int64_t rows) {
  SeriesTable table;
  table.file = "made.csv";
  for (int64_t i = 0; i < rows; ++i) table.dates.push_back(*make_time(2016, 7, 1) + 3600 * i);
  table.frequency = infer_frequency(table.dates);
  return table;
}

std::vector<int64_t> borders(const SeriesTable& table, const Json& rule) {
  const auto b = split_series(table, rule);
  return {b.train, b.validation, b.test};
}

TEST_CASE("borders of the parts", "[series]") {
  const auto two_years = hourly(17420);
  using List = std::vector<int64_t>;
  CHECK(borders(two_years, "ett") == List{8640, 11520, 14400});
  CHECK(borders(two_years, "ett_or_ratio") == List{8640, 11520, 14400});
  CHECK(borders(two_years, "ratio") == List{12194, 13936, 17420});
  CHECK(borders(hourly(14399), "ett_or_ratio") == List{10079, 11520, 14399});
  CHECK(borders(hourly(30000), "ett_or_ratio") == List{21000, 24000, 30000});
  CHECK(borders(two_years, {{"train", 100}, {"validation", 50}, {"test", 25}}) == List{100, 150, 175});
  CHECK(borders(two_years, {{"train", 0.6}, {"validation", 0.2}, {"test", 0.2}}) == List{10452, 13936, 17420});
  CHECK(borders(two_years, {{"validation", "2016-07-02"}, {"test", "2016-07-03"}}) == List{24, 48, 17420});
  CHECK(borders(two_years, {{"validation", "2016-07-02"}, {"test", "2016-07-03"}, {"end", "2016-07-04"}}) == List{24, 48, 72});
  const auto fails = [&](const SeriesTable& table, const Json& rule) { return message_of([&] { split_series(table, rule); }); };
  CHECK(has(fails(hourly(14399), "ett"), "needs 20 months of 30 days, 14400 rows at a step of 1 hour; the file has 14399"));
  CHECK(has(fails(two_years, "halves"), "expected \"ratio\", \"ett\""));
  CHECK(has(fails(two_years, {{"train", 17000}, {"validation", 400}, {"test", 200}}), "17600 rows; the file has 17420"));
  CHECK(has(fails(two_years, {{"train", 0.5}, {"validation", 0.2}, {"test", 0.2}}), "add up to"));
  CHECK(has(fails(two_years, {{"train", 100}, {"tset", 25}}), "unknown key 'tset'"));
  CHECK(has(fails(two_years, {{"validation", "2016-08-02"}, {"test", "2016-07-03"}}), "not in order"));
  CHECK(has(fails(two_years, {{"validation", "soon"}, {"test", "2016-07-03"}}), "expected a date"));
}

TEST_CASE("the public files are read as they are", "[series]") {
  const auto folder = zoo::test::data_folder();
  NEEDS(folder, "../shared/data (or $ZOO_DATA)");
  const auto etth1 = read_series(*folder / "forecasting/ETTh1.csv");
  CHECK(etth1.rows() == 17420);
  CHECK(etth1.columns.size() == 7);
  CHECK(etth1.frequency.name() == "1 hour");
  CHECK(etth1.gaps == 0);
  const auto exchange = read_series(*folder / "forecasting/exchange_rate.csv");
  CHECK(exchange.rows() == 7588);
  CHECK(exchange.frequency.name() == "1 day");
  for (const char* name : {"EPF_NP.csv", "EPF_PJM.csv"}) {
    const auto prices = read_series(*folder / "forecasting" / name);
    CHECK(prices.rows() == 52416);
    CHECK(prices.columns.back() == "OT");
  }
  const auto beijing = read_series(*folder / "forecasting/beijing_pm25.csv", {"", {"DEWP", "TEMP", "PRES", "Iws", "Is", "Ir", "pm2.5"}});
  CHECK(beijing.rows() == 43824);
  CHECK(beijing.missing == 2067);
  CHECK(beijing.frequency.name() == "1 hour");
}

}  // namespace series_tests
