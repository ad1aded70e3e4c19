//! [`ResourceTracker`]: what is allocated of a fixed capacity.

use std::collections::HashMap;
use std::sync::Arc;

use driver_types::{DriverError, ResourceLimits, Result};

use crate::sync::{Mutex, lock};

/// Hands out a fixed capacity of cores, memory, disk and processes.
///
/// Sums are kept in whole numbers (billionths of a core), so that they are exact however often something is allocated
/// and released. A clone is another handle on the same books. Times are epoch milliseconds and come from the caller.
///
/// ```
/// use driver_state::ResourceTracker;
/// use driver_types::ResourceLimits;
///
/// let tracker = ResourceTracker::new(ResourceLimits { cpu: 2.0, memory: 1024, disk: 4096, pids: 400 });
/// let allocation = tracker.allocate(&ResourceLimits::default().cpu(1.5), 1000)?;
/// assert!(tracker.check_availability(&ResourceLimits::default().cpu(1.0)).is_err());
/// drop(allocation);
/// assert_eq!(tracker.usage().allocations, 0);
/// # Ok::<(), driver_types::DriverError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ResourceTracker {
    capacity: Amounts,
    books: Arc<Mutex<Books>>,
}

#[derive(Debug, Default)]
struct Books {
    used: Amounts,
    allocations: HashMap<u64, ResourceAllocation>,
    last_id: u64,
}

/// Something that is allocated, or was.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceAllocation {
    /// Never given twice by one tracker.
    pub id: u64,
    /// How much.
    pub limits: ResourceLimits,
    /// Since when, in epoch milliseconds.
    pub allocated_at: u64,
}

impl ResourceAllocation {
    /// How long it has been allocated, in milliseconds.
    pub fn duration(&self, now: u64) -> u64 {
        now.saturating_sub(self.allocated_at)
    }
}

/// What is allocated now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResourceUsage {
    /// How many allocations there are.
    pub allocations: usize,
    /// Their sum.
    pub used: ResourceLimits,
    /// What is left.
    pub available: ResourceLimits,
    /// All there is.
    pub capacity: ResourceLimits,
}

/// The part of the capacity that is allocated, 0 to 1 for each resource.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Utilisation {
    /// Of the cores.
    pub cpu: f64,
    /// Of the memory.
    pub memory: f64,
    /// Of the disk.
    pub disk: f64,
    /// Of the processes.
    pub pids: f64,
}

impl ResourceTracker {
    /// Nothing of the capacity is allocated. A resource without a limit has `u64::MAX` (`f64::INFINITY` cores).
    pub fn new(capacity: ResourceLimits) -> Self {
        Self {
            capacity: Amounts::from(&capacity),
            books: Arc::default(),
        }
    }

    /// Allocates until the answer is dropped, or for good if it is [kept](Allocation::keep).
    ///
    /// # Errors
    ///
    /// Those of [`check_availability`](Self::check_availability). Then nothing is allocated.
    pub fn allocate(&self, limits: &ResourceLimits, now: u64) -> Result<Allocation> {
        let mut books = lock(&self.books);
        let used = self.fit(books.used, limits)?;
        books.used = used;
        books.last_id += 1;
        let allocation = ResourceAllocation {
            id: books.last_id,
            limits: *limits,
            allocated_at: now,
        };
        books.allocations.insert(allocation.id, allocation.clone());
        Ok(Allocation {
            tracker: self.clone(),
            allocation,
            kept: false,
        })
    }

    /// Releases an allocation.
    ///
    /// # Errors
    ///
    /// `INTERNAL_ERROR` where there is none of this id: it was released before. Nothing is released twice.
    pub fn deallocate(&self, id: u64) -> Result<ResourceAllocation> {
        let mut books = lock(&self.books);
        let allocation = books
            .allocations
            .remove(&id)
            .ok_or_else(|| DriverError::internal(format!("resource allocation {id} was released before")))?;
        books.used = books.used.minus(Amounts::from(&allocation.limits));
        Ok(allocation)
    }

    /// Changes an allocation to other limits, all or nothing.
    ///
    /// # Errors
    ///
    /// `INTERNAL_ERROR` where there is none of this id, and those of [`check_availability`](Self::check_availability).
    pub fn resize(&self, id: u64, limits: &ResourceLimits) -> Result<()> {
        let mut books = lock(&self.books);
        let Some(allocation) = books.allocations.get(&id) else {
            return Err(DriverError::internal(format!(
                "there is no resource allocation {id}"
            )));
        };
        let without = books.used.minus(Amounts::from(&allocation.limits));
        books.used = self.fit(without, limits)?;
        if let Some(allocation) = books.allocations.get_mut(&id) {
            allocation.limits = *limits;
        }
        Ok(())
    }

    /// Whether so much is left.
    ///
    /// # Errors
    ///
    /// `RESOURCE_LIMIT_EXCEEDED` that names the first resource of which less is left; `capacity` and `used` are in its
    /// context.
    pub fn check_availability(&self, limits: &ResourceLimits) -> Result<()> {
        self.fit(lock(&self.books).used, limits).map(drop)
    }

    /// Whether so much could be allocated if nothing else were.
    ///
    /// # Errors
    ///
    /// `RESOURCE_LIMIT_EXCEEDED` that names the first resource of which there is less.
    pub fn check_capacity(&self, limits: &ResourceLimits) -> Result<()> {
        self.fit(Amounts::default(), limits).map(drop)
    }

    /// What is allocated and what is left.
    pub fn usage(&self) -> ResourceUsage {
        let books = lock(&self.books);
        ResourceUsage {
            allocations: books.allocations.len(),
            used: books.used.limits(),
            available: self.capacity.minus(books.used).limits(),
            capacity: self.capacity.limits(),
        }
    }

    /// The part of the capacity that is allocated.
    pub fn utilisation(&self) -> Utilisation {
        let used = lock(&self.books).used.0;
        let [cpu, memory, disk, pids] = std::array::from_fn(|index| match self.capacity.0[index] {
            0 => 0.0,
            capacity => used[index] as f64 / capacity as f64,
        });
        Utilisation {
            cpu,
            memory,
            disk,
            pids,
        }
    }

    /// What is allocated now, oldest first.
    pub fn allocations(&self) -> Vec<ResourceAllocation> {
        let mut allocations: Vec<_> = lock(&self.books).allocations.values().cloned().collect();
        allocations.sort_unstable_by_key(|allocation| allocation.id);
        allocations
    }

    /// The sum of `used` and `limits`, if the capacity is not exceeded.
    fn fit(&self, used: Amounts, limits: &ResourceLimits) -> Result<Amounts> {
        if !(limits.cpu.is_finite() && limits.cpu >= 0.0) {
            return Err(DriverError::configuration(format!(
                "{} is not a number of cores",
                limits.cpu
            )));
        }
        let requested = Amounts::from(limits);
        let mut sum = used;
        for (index, resource) in RESOURCES.into_iter().enumerate() {
            let available = self.capacity.0[index].saturating_sub(used.0[index]);
            if requested.0[index] > available {
                let unit = |amounts: Amounts| amounts.unit(index);
                let left = self.capacity.minus(used);
                return Err(DriverError::resource_limit(resource, unit(left), unit(requested))
                    .with_context("capacity", unit(self.capacity))
                    .with_context("used", unit(used)));
            }
            sum.0[index] += requested.0[index];
        }
        Ok(sum)
    }
}

/// An allocation that is released when it is dropped.
#[derive(Debug)]
#[must_use = "dropping an allocation releases it"]
pub struct Allocation {
    tracker: ResourceTracker,
    allocation: ResourceAllocation,
    kept: bool,
}

impl Allocation {
    /// Its id.
    pub fn id(&self) -> u64 {
        self.allocation.id
    }

    /// What was allocated, and when.
    pub fn details(&self) -> &ResourceAllocation {
        &self.allocation
    }

    /// Keeps it until [`deallocate`](ResourceTracker::deallocate) is called with the id.
    pub fn keep(mut self) -> u64 {
        self.kept = true;
        self.allocation.id
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        if !self.kept {
            // An error means that it was released by its id before: then nothing is left to do.
            let _ = self.tracker.deallocate(self.allocation.id);
        }
    }
}

const RESOURCES: [&str; 4] = ["cpu", "memory", "disk", "pids"];
const NANOS: f64 = 1e9;

/// Whole amounts in the order of [`RESOURCES`]: billionths of a core, MiB, MiB, processes.
#[derive(Clone, Copy, Debug, Default)]
struct Amounts([u64; 4]);

impl From<&ResourceLimits> for Amounts {
    fn from(limits: &ResourceLimits) -> Self {
        // A cast of a float saturates.
        Self([
            (limits.cpu * NANOS).round() as u64,
            limits.memory,
            limits.disk,
            limits.pids,
        ])
    }
}

impl Amounts {
    fn minus(self, other: Self) -> Self {
        Self(std::array::from_fn(|index| {
            self.0[index].saturating_sub(other.0[index])
        }))
    }

    /// One of them in the unit of [`ResourceLimits`].
    fn unit(self, index: usize) -> f64 {
        let amount = self.0[index] as f64;
        if index == 0 { amount / NANOS } else { amount }
    }

    fn limits(self) -> ResourceLimits {
        let [_, memory, disk, pids] = self.0;
        ResourceLimits {
            cpu: self.unit(0),
            memory,
            disk,
            pids,
        }
    }
}
