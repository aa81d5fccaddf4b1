use super::*;
use crate::layout::tag_of;
use std::cell::RefCell;
use trace::Marker;

thread_local! {
    /// What the tests' heaps are to keep.
    static ROOTS: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

fn collector(heap: &Heap) {
    let roots = ROOTS.with_borrow(Clone::clone);
    collect::collect_from(heap, |marker: &Marker<'_>| {
        roots.iter().for_each(|root| marker.ambiguous(*root));
    });
}

fn heap() -> Box<Heap> {
    ROOTS.with_borrow_mut(Vec::clear);
    let heap = Box::new(Heap::new());
    heap.set_collector(collector);
    heap
}

fn limited(memory: usize) -> Limits {
    Limits {
        memory,
        collect_after: None,
    }
}

fn keep(address: usize) {
    ROOTS.with_borrow_mut(|roots| roots.push(address));
}

fn words(heap: &Heap, words: &[usize]) -> usize {
    let made = heap.words(words.len()).unwrap();
    // SAFETY: just made with that size.
    unsafe { made.copy_from_nonoverlapping(words.as_ptr(), words.len()) };
    made as usize
}

fn word(address: usize) -> usize {
    // SAFETY: the tests pass addresses of words in live buffers.
    unsafe { (address as *const usize).read() }
}

fn bytes(heap: &Heap, count: usize, fill: u8) -> usize {
    let made = heap.buffer(count).unwrap();
    // SAFETY: just made with that size.
    unsafe { made.write_bytes(fill, count) };
    made as usize
}

fn has(address: usize, count: usize, fill: u8) -> bool {
    // SAFETY: the tests pass live buffers.
    let bytes = unsafe { std::slice::from_raw_parts(address as *const u8, count) };
    bytes.iter().all(|byte| *byte == fill)
}

#[test]
fn objects_are_aligned_and_apart() {
    let heap = heap();
    let mut made = Vec::new();
    for (fill, size) in (0..).zip([0, 1, 8, 9, 24, 500, 504, 505, 1000, 9000, LARGE, LARGE + 1]) {
        for _ in 0..3 {
            let object = heap.object(size, 0xab0).unwrap();
            assert_eq!(object as usize % 16, 0);
            // SAFETY: `size` bytes were just allocated.
            unsafe { object.cast::<u8>().write_bytes(fill, size) };
            made.push((object, size, fill));
        }
    }
    for (object, size, fill) in made {
        // SAFETY: the object has a tag.
        assert_eq!(unsafe { tag_of(object) }, 0xab0);
        assert!(has(object as usize, size, fill));
    }
    heap.release();
    assert_eq!(heap.used(), 0);
}

#[test]
fn a_small_call_costs_the_next_one_nothing() {
    let heap = heap();
    let first = heap.object(64, 0).unwrap();
    let other = heap.object(1000, 0).unwrap();
    heap.reset();
    let kept = heap.used();
    assert!(kept > 0);
    for _ in 0..10_000 {
        assert_eq!(heap.object(64, 0).unwrap(), first);
        assert_eq!(heap.object(1000, 0).unwrap(), other);
        heap.reset();
    }
    assert_eq!(heap.used(), kept);
    for _ in 0..10_000 {
        heap.object(4000, 0).unwrap();
    }
    assert!(heap.used() > 40_000_000);
    heap.reset();
    assert_eq!(heap.used(), 0);
    heap.release();
}

#[test]
fn large_things_come_and_go_alone() {
    let heap = heap();
    let large = heap.object(1 << 20, 0x10).unwrap();
    assert_eq!(large as usize % 64, 0);
    let blocks: Vec<_> = (0..5)
        .map(|_| heap.block(100_000, Tag::PINNED).unwrap())
        .collect();
    let used = heap.used();
    for index in [2, 0, 4] {
        // SAFETY: a live block.
        unsafe { heap.free_block(blocks[index]) }.unwrap();
    }
    assert!(heap.used() < used);
    // SAFETY: a live block.
    assert_eq!(unsafe { heap.block_bytes(blocks[1]) }, Ok(100_000));
    let inside = blocks[1].wrapping_add(64);
    // SAFETY: inside a live block.
    unsafe { inside.wrapping_sub(64).write_bytes(0, 64) };
    // SAFETY: the 64 bytes before are the block's first.
    assert_eq!(unsafe { heap.free_block(inside) }, Err(ForeignPointer));
    heap.release();
    assert_eq!(heap.used(), 0);
}

#[test]
fn the_limit_holds() {
    let heap = heap();
    heap.begin(limited(1 << 20));
    assert_eq!(heap.block(2 << 20, Tag::BYTES), Err(Exhausted));
    assert_eq!(heap.object(usize::MAX - 100, 0), Err(Exhausted));
    let mut last = 0;
    let mut count = 0;
    while let Ok(made) = heap.words(125) {
        // Everything stays reachable.
        // SAFETY: just made.
        unsafe { made.write_bytes(0, 125) };
        // SAFETY: as above.
        unsafe { made.write(last) };
        last = made as usize;
        ROOTS.with_borrow_mut(|roots| *roots = vec![last]);
        count += 1;
    }
    assert!((500..1100).contains(&count), "{count}");
    heap.reset();
    assert!(heap.object(1000, 0).is_ok());
    heap.release();
}

#[test]
fn what_is_dropped_below_the_limit_is_found() {
    let heap = heap();
    heap.begin(limited(4 << 20));
    for size in [16, 1000, 20_000, 100_000] {
        for _ in 0..(100 << 20) / size {
            heap.object(size, Tag::BYTES).unwrap();
        }
        assert!(heap.used() <= 4 << 20);
    }
    heap.release();
}

#[test]
fn what_is_referred_to_stays() {
    let heap = heap();
    let small = bytes(&heap, 40, 1);
    let large = bytes(&heap, 50_000, 2);
    let inner = words(&heap, &[small, 7, large]);
    let middle = words(&heap, &vec![inner; 6000]);
    let outer = words(&heap, &[0, middle]);
    keep(outer);
    let garbage = (0..1000)
        .map(|_| bytes(&heap, 40_000, 3))
        .collect::<Vec<_>>();
    let used = heap.used();
    assert!(heap.collect());
    assert!(heap.used() + garbage.len() * 40_000 <= used);
    for _ in 0..3 {
        for _ in 0..100_000 {
            bytes(&heap, 40, 9);
        }
        heap.collect();
    }
    assert_eq!(word(outer + 8), middle);
    assert_eq!(word(word(middle)), small);
    assert!(has(small, 40, 1));
    assert!(has(large, 50_000, 2));
    heap.release();
}

#[test]
fn slots_are_used_again_and_never_twice() {
    let heap = heap();
    for round in 0..5_usize {
        ROOTS.with_borrow_mut(Vec::clear);
        let mut kept = Vec::new();
        for i in 0..50_000_usize {
            let size = 8 + 24 * (i % 9);
            let made = bytes(&heap, size, i as u8);
            if i % 3 == round % 3 {
                keep(made);
                kept.push((made, size, i as u8));
            }
            if i % 20_000 == 19_999 {
                heap.collect();
            }
        }
        for &(made, size, fill) in &kept {
            assert!(has(made, size, fill), "round {round}");
        }
    }
    assert!(heap.used() < 20 << 20, "{}", heap.used());
    heap.release();
}

#[test]
fn addresses_near_an_object_keep_it() {
    for size in [8, 100, 600, 20_000, 40_000, 3_000_000] {
        for (offset, stays) in [
            (0_isize, true),
            (-16, true),
            (-8, true),
            (size / 2, true),
            (size, true),
            (size + 8, true),
            (-200_000_000, false),
        ] {
            let heap = heap();
            let made = bytes(&heap, size as usize, 1);
            keep(made.wrapping_add_signed(offset));
            heap.collect();
            let found = heap.pages.find(made).is_some() || {
                heap.blocks.list();
                heap.blocks.find(made).is_some()
            };
            assert_eq!(found, stays, "{size} {offset}");
            heap.release();
        }
    }
}

#[test]
fn words_that_are_no_references_do_no_harm() {
    let heap = heap();
    for _ in 0..100 {
        bytes(&heap, 100_000, 0);
    }
    let start = words(&heap, &[0; 64]);
    for i in 0..200_000_usize {
        let mixed = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        keep(start.wrapping_add(mixed % (1 << 22)));
        keep(mixed);
    }
    for special in [0, 1, usize::MAX, usize::MAX - 7, 1 << 63] {
        keep(special);
    }
    heap.collect();
    heap.collect();
    heap.release();
}

#[test]
fn a_long_chain_is_followed_without_recursion() {
    let heap = heap();
    let mut last = 0;
    for _ in 0..1_000_000 {
        last = words(&heap, &[last]);
        ROOTS.with_borrow_mut(|roots| *roots = vec![last]);
    }
    heap.collect();
    let mut length = 0;
    while last != 0 {
        last = word(last);
        length += 1;
    }
    assert_eq!(length, 1_000_000);
    heap.release();
}

#[test]
fn while_paused_nothing_is_collected() {
    let heap = heap();
    let made = bytes(&heap, 40, 5);
    heap.pause(true);
    assert!(!heap.collect());
    heap.settle();
    assert!(heap.pages.find(made).is_some());
    heap.pause(false);
    assert!(heap.collect());
    assert!(heap.pages.find(made).is_none());
    heap.release();
}

#[test]
fn quiet_buffers_are_collected_by_the_next_object() {
    let heap = heap();
    let before = heap.given();
    for _ in 0..200 {
        heap.buffer_quietly(1 << 20).unwrap();
    }
    assert!(heap.used() > 200 << 20);
    assert!(heap.given() - before >= 200 << 20);
    heap.object(8, Tag::BYTES).unwrap();
    assert!(heap.used() < 2 << 20);
    heap.release();
}

#[test]
fn pinned_memory_stays_until_it_is_freed() {
    let heap = heap();
    let block = heap.block(100, Tag::PINNED).unwrap();
    heap.collect();
    // SAFETY: not freed yet.
    assert_eq!(unsafe { heap.block_bytes(block) }, Ok(100));
    // SAFETY: as above.
    unsafe { heap.free_block(block) }.unwrap();
    heap.release();
}

#[test]
fn memory_goes_back_to_the_system_after_a_large_call() {
    let heap = heap();
    let mut last = 0;
    for _ in 0..1_000_000 {
        last = words(&heap, &[last, 0, 0, 0, 0, 0, 0, 0, 0]);
        ROOTS.with_borrow_mut(|roots| *roots = vec![last]);
    }
    assert!(heap.collected.get());
    heap.reset();
    ROOTS.with_borrow_mut(Vec::clear);
    // What a page had before is not alive in it now.
    for size in [8, 72, 700] {
        let made = bytes(&heap, size, 1);
        heap.settle();
        assert_eq!(heap.pages.find(made).unwrap().object, made);
        heap.collect();
        assert!(heap.pages.find(made).is_none());
    }
    heap.release();
}
