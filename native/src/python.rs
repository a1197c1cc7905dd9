//! The module `k2_native`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::{Array, RecordBatch};
use arrow_data::ArrayData;
use arrow_pyarrow::PyArrowType;
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyLookupError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::batches::Answer;
use crate::feeds;
use crate::refusal::Refusal;

create_exception!(
    k2_native,
    NotTakenError,
    PyException,
    "Bytes that the Python path has to decide about."
);
create_exception!(
    k2_native,
    DefectError,
    PyException,
    "A defect of this extension: nothing was decoded."
);

/// Counts the changes of what is called here and what it gives: K2 uses no other number's.
const INTERFACE: u32 = 1;

/// Run without the interpreter's lock; a panic becomes an error.
fn detached<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T, Refusal> + Send,
) -> PyResult<T> {
    py.detach(|| catch_unwind(AssertUnwindSafe(work)))
        .map_err(|_| DefectError::new_err("decoding panicked"))?
        .map_err(|refusal| NotTakenError::new_err(refusal.to_string()))
}

/// The record batches of a partition in an answer to a fetch, read in portions.
///
/// Args:
///     data: as the broker sent them; a batch that is cut off at the end is ignored.
///     `fetch_offset`: records below it are left out.
///     aborted: producer id and first offset of aborted transactions.
///     committed: whether records of aborted transactions are left out.
#[pyclass(module = "k2_native")]
struct RecordBatches {
    data: PyBackedBytes,
    answer: Answer,
}

#[pymethods]
impl RecordBatches {
    #[new]
    fn new(
        data: PyBackedBytes,
        fetch_offset: i64,
        aborted: Vec<(i64, i64)>,
        committed: bool,
    ) -> Self {
        Self { data, answer: Answer::new(fetch_offset, aborted, committed) }
    }

    /// Read on, until there are so many records or no other batch follows.
    ///
    /// Returns:
    ///     The records as columns; the offset to go on from; whether they are the last.
    ///
    /// Raises:
    ///     `NotTakenError`: something else than whole, undamaged batches of format 2. Nothing more
    ///         is to be read of these.
    ///     `DefectError`: see there.
    fn read(
        &mut self,
        py: Python<'_>,
        at_least: usize,
    ) -> PyResult<(PyArrowType<RecordBatch>, i64, bool)> {
        let Self { data, answer } = self;
        let found = detached(py, || answer.read(data, at_least))?;
        Ok((found.columns.into(), found.next_offset, found.is_last))
    }
}

/// Decode the records of one feed.
///
/// Args:
///     feed: as the header `feed` names it; one of `FEEDS`.
///     records: columns `key`, `value` (binary) and `append_time_ms` (int64).
///
/// Returns:
///     One row per record that was taken; one row per trade, whose `message` is a row of the
///     former; the distinct keys and sessions; the numbers of the records that were not taken.
///
/// Raises:
///     `LookupError`: the feed is none of `FEEDS`.
///     `NotTakenError`: the records have other columns.
///     `DefectError`: see there.
#[pyfunction]
#[allow(clippy::type_complexity)] // five results, named above
fn decode_trades(
    py: Python<'_>,
    feed: &str,
    records: PyArrowType<RecordBatch>,
) -> PyResult<(
    PyArrowType<RecordBatch>,
    PyArrowType<RecordBatch>,
    PyArrowType<ArrayData>,
    PyArrowType<ArrayData>,
    PyArrowType<ArrayData>,
)> {
    let read = feeds::reader_of(feed)
        .ok_or_else(|| PyLookupError::new_err(format!("feed {feed} is read in Python alone")))?;
    let records = records.0;
    let (decoded, left) = detached(py, move || feeds::decode(read, &records))?;
    Ok((
        decoded.messages.into(),
        decoded.rows.into(),
        decoded.scopes.to_data().into(),
        decoded.sessions.to_data().into(),
        left.to_data().into(),
    ))
}

#[pymodule]
fn k2_native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("INTERFACE", INTERFACE)?;
    module.add("FEEDS", feeds::FEEDS.to_vec())?;
    module.add("NotTakenError", module.py().get_type::<NotTakenError>())?;
    module.add("DefectError", module.py().get_type::<DefectError>())?;
    module.add_class::<RecordBatches>()?;
    module.add_function(wrap_pyfunction!(decode_trades, module)?)
}
