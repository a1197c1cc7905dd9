"""What a statement may consist of: everything else is refused by its name.

A function is allowed if its result follows from its arguments alone, and is not much larger than
they are: none of the clock, of chance, of the environment, of files, of catalogs, and none that
makes long texts or lists of a number.
"""

#: Functions of FROM.
TABLE_FUNCTIONS = frozenset({"range", "generate_series", "unnest"})

_OPERATORS = (
    "+", "-", "*", "/", "//", "%", "^", "**", "&", "|", "<<", ">>", "@", "~", "||",
    "~~", "!~~", "~~*", "!~~*", "~~~",
)  # fmt: skip
_AGGREGATES = """
any_value approx_count_distinct approx_quantile arg_max arg_max_null arg_min arg_min_null argmax
argmin avg bit_and bit_or bit_xor bool_and bool_or corr count count_if count_star countif covar_pop
covar_samp entropy favg first fsum geometric_mean group_concat histogram kurtosis kurtosis_pop last
list listagg mad max max_by mean median min min_by mode product quantile quantile_cont
quantile_disc regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy
regr_syy skewness stddev stddev_pop stddev_samp string_agg sum var_pop var_samp variance array_agg
"""
_WINDOWS = """
cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank rank_dense
row_number
"""
_NUMBERS = """
abs acos asin atan atan2 bit_count cbrt ceil ceiling cos cot degrees even exp factorial floor gcd
greatest greatest_common_divisor isfinite isinf isnan lcm least ln log log10 log2 pi pow power
radians round round_even sign sin sqrt tan trunc xor add subtract multiply divide mod
"""
_TEXTS = """
ascii bar chr concat concat_ws contains ends_with format_bytes hash instr lcase left length lower
ltrim md5 nfc_normalize ord position prefix regexp_extract regexp_extract_all regexp_full_match
regexp_matches regexp_replace regexp_split_to_array replace reverse right rtrim sha256 split_part
starts_with str_split string_split strip_accents strlen strpos substr substring suffix translate
trim ucase unicode upper like_escape ilike_escape not_like_escape not_ilike_escape levenshtein
"""
_TIMES = """
age century date_add date_diff date_part date_sub date_trunc datediff datepart datesub datetrunc day
dayname dayofmonth dayofweek dayofyear decade epoch epoch_ms epoch_ns epoch_us era extract hour
isodow isoyear julian last_day make_date make_time make_timestamp make_timestamp_ns
make_timestamptz microsecond millennium millisecond minute month monthname nanosecond quarter
second strftime strptime time_bucket timezone to_days to_hours to_microseconds to_milliseconds
to_minutes to_months to_seconds to_timestamp to_weeks to_years try_strptime week weekday weekofyear
year yearweek
"""
_NESTED = """
array_contains array_extract array_length array_slice cardinality element_at flatten len
list_aggregate list_any_value list_apply list_avg list_concat list_contains list_count list_distinct
list_element list_extract list_filter list_first list_has list_has_all list_has_any list_last
list_max list_median list_min list_mode list_position list_reverse list_slice list_sort list_sum
list_transform list_unique list_value list_zip map map_contains map_entries map_extract
map_extract_value map_from_entries map_keys map_values row struct_extract struct_pack
struct_extract_at unnest
"""
_OTHERS = "coalesce constant_or_null if ifnull nullif typeof grouping"

#: Functions of expressions, by the name that the parser gives them.
FUNCTIONS = frozenset(
    (
        *_OPERATORS,
        *f"{_AGGREGATES} {_WINDOWS} {_NUMBERS} {_TEXTS} {_TIMES} {_NESTED} {_OTHERS}".split(),
    )
)

#: Names that stand for functions of the session where no column has them.
SESSION_VALUES = frozenset(
    (
        "current_catalog", "current_date", "current_role", "current_schema", "current_time",
        "current_timestamp", "current_user", "localtime", "localtimestamp", "session_user", "user",
    )
)  # fmt: skip

#: Nodes of queries, of FROM and of what stands behind them, by their type.
NODES = frozenset(
    (
        "SELECT_NODE", "SET_OPERATION_NODE", "BASE_TABLE", "SUBQUERY", "JOIN", "EMPTY",
        "EXPRESSION_LIST", "TABLE_FUNCTION", "ORDER_MODIFIER", "LIMIT_MODIFIER",
        "LIMIT_PERCENT_MODIFIER", "DISTINCT_MODIFIER", "ORDER_DEFAULT", "ASCENDING", "DESCENDING",
    )
)  # fmt: skip
#: Expressions, by their class.
EXPRESSIONS = frozenset(
    (
        "BETWEEN", "CASE", "CAST", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT",
        "FUNCTION", "LAMBDA", "LAMBDA_REF", "OPERATOR", "PARAMETER", "POSITIONAL_REFERENCE", "STAR",
        "SUBQUERY", "TYPE", "WINDOW",
    )
)  # fmt: skip
#: Expressions whose value follows from the statement and its parameters alone.
CONSTANTS = frozenset({"CAST", "CONSTANT", "FUNCTION", "OPERATOR", "PARAMETER", "TYPE"})
