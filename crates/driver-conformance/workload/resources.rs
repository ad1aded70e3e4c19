//! Commands that use memory and processor time.

use std::time::{Duration, Instant};

use crate::{Answer, Trouble, number, system};

pub fn run(name: &str, arguments: &[&[u8]]) -> Option<Answer> {
    Some(match (name, arguments) {
        ("alloc", [mib]) => alloc(mib),
        ("burn", [ms, threads]) => burn(ms, threads),
        _ => return None,
    })
}

fn alloc(mib: &[u8]) -> Answer {
    let mib: usize = number(mib)?;
    let mut memory: Vec<u8> = Vec::new();
    memory
        .try_reserve_exact(mib << 20)
        .map_err(|_| Trouble::Word("ENOMEM"))?;
    for page in memory.spare_capacity_mut().chunks_mut(4096) {
        page[0].write(1);
    }
    std::hint::black_box(&mut memory);
    std::mem::forget(memory);
    Ok(Some(mib.to_string()))
}

fn burn(ms: &[u8], threads: &[u8]) -> Answer {
    let (wall, threads) = (Duration::from_millis(number(ms)?), number::<usize>(threads)?);
    let (started, cpu) = (Instant::now(), system::cpu_time());
    let spin = move || {
        while started.elapsed() < wall {
            std::hint::spin_loop();
        }
    };
    let others: Vec<_> = (1..threads).map(|_| std::thread::spawn(spin)).collect();
    spin();
    others.into_iter().for_each(|thread| drop(thread.join()));
    let used = system::cpu_time().saturating_sub(cpu);
    Ok(Some(format!(
        "{} {}",
        used.as_millis(),
        started.elapsed().as_millis()
    )))
}
