//! The hosts of one zone, for a million of them: about 50 bytes a host. They are sorted by key, so
//! that names below a name are found, in chunks of up to 256 hosts. A chunk holds its keys in one
//! buffer. A snapshot shares the chunks, and a change copies only the chunk that it is in.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Hosts in a chunk. Their keys are 254 bytes each at most, so that their sum fits `u16`.
const MAX_HOSTS: usize = 256;

/// The records of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HostRecords {
    pub(super) v4: Option<Ipv4Addr>,
    pub(super) v6: Option<Ipv6Addr>,
    /// Seconds.
    pub(super) ttl: u32,
}

impl HostRecords {
    pub(super) fn is_empty(&self) -> bool {
        self.v4.is_none() && self.v6.is_none()
    }
}

/// Hosts by key. A clone is a snapshot.
#[derive(Clone, Default)]
pub(super) struct HostMap {
    /// None is empty.
    chunks: Vec<Arc<HostChunk>>,
}

/// Neighbours in the order of keys.
#[derive(Clone, Default)]
pub(super) struct HostChunk {
    /// The keys, one after the other.
    keys: Vec<u8>,
    hosts: Vec<HostEntry>,
}

#[derive(Clone, Copy)]
struct HostEntry {
    /// Where its key ends in the buffer.
    end: u16,
    records: HostRecords,
}

impl HostMap {
    pub(super) fn get(&self, key: &[u8]) -> Option<HostRecords> {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let at = chunk.find(key).ok()?;
        chunk.hosts.get(at).map(|host| host.records)
    }

    /// Whether there is a host whose key begins with this.
    pub(super) fn has_prefix(&self, prefix: &[u8]) -> bool {
        let at = self.chunk_of(prefix);
        // the first key that is not less: in this chunk, or the first of the next one
        let here = self.chunks.get(at).and_then(|chunk| {
            let (Ok(index) | Err(index)) = chunk.find(prefix);
            (index < chunk.hosts.len()).then(|| chunk.key(index))
        });
        let first = here.or_else(|| self.chunks.get(at + 1).map(|chunk| chunk.key(0)));
        first.is_some_and(|key| key.starts_with(prefix))
    }

    /// Empty records remove the host. Returns whether this changed anything.
    pub(super) fn set(&mut self, key: &[u8], records: HostRecords) -> bool {
        let at = self.chunk_of(key);
        let found = self.chunks.get(at).map_or(Err(0), |chunk| chunk.find(key));
        match found {
            Ok(index) if records.is_empty() => self.remove(at, index),
            Ok(index) => return self.replace(at, index, records),
            Err(_) if records.is_empty() => return false,
            Err(index) => self.insert(at, index, key, records),
        }
        true
    }

    /// The chunk that has the key, or would get it.
    fn chunk_of(&self, key: &[u8]) -> usize {
        self.chunks.partition_point(|chunk| chunk.key(0) <= key).saturating_sub(1)
    }

    fn replace(&mut self, at: usize, index: usize, records: HostRecords) -> bool {
        let Some(chunk) = self.chunks.get_mut(at) else { return false };
        if chunk.hosts.get(index).is_some_and(|host| host.records == records) {
            return false;
        }
        if let Some(host) = Arc::make_mut(chunk).hosts.get_mut(index) {
            host.records = records;
        }
        true
    }

    fn remove(&mut self, at: usize, index: usize) {
        let Some(chunk) = self.chunks.get_mut(at) else { return };
        let chunk = Arc::make_mut(chunk);
        chunk.remove(index);
        if chunk.hosts.is_empty() {
            self.chunks.remove(at);
        }
    }

    fn insert(&mut self, at: usize, index: usize, key: &[u8], records: HostRecords) {
        let is_last = at + 1 >= self.chunks.len();
        let Some(chunk) = self.chunks.get_mut(at) else {
            self.chunks.push(Arc::new(HostChunk::of_one(key, records)));
            return;
        };
        if chunk.hosts.len() < MAX_HOSTS {
            return Arc::make_mut(chunk).insert(index, key, records);
        }
        if is_last && index == MAX_HOSTS {
            // zones are loaded in order: halving would leave every chunk half empty
            self.chunks.push(Arc::new(HostChunk::of_one(key, records)));
            return;
        }
        let chunk = Arc::make_mut(chunk);
        let mut upper = chunk.split();
        match index.checked_sub(chunk.hosts.len()) {
            Some(index) => upper.insert(index, key, records),
            None => chunk.insert(index, key, records),
        }
        self.chunks.insert(at + 1, Arc::new(upper));
    }
}

/// Goes through a snapshot, one host at a time.
pub(super) struct HostCursor {
    hosts: HostMap,
    chunk: usize,
    index: usize,
}

impl HostCursor {
    pub(super) fn new(hosts: HostMap) -> Self {
        Self { hosts, chunk: 0, index: 0 }
    }

    pub(super) fn next(&mut self) -> Option<(&[u8], HostRecords)> {
        let mut chunk = self.hosts.chunks.get(self.chunk)?;
        if self.index >= chunk.hosts.len() {
            (self.chunk, self.index) = (self.chunk + 1, 0);
            chunk = self.hosts.chunks.get(self.chunk)?;
        }
        let index = self.index;
        self.index += 1;
        chunk.hosts.get(index).map(|host| (chunk.key(index), host.records))
    }
}

impl HostChunk {
    fn of_one(key: &[u8], records: HostRecords) -> Self {
        let mut chunk = Self::default();
        chunk.insert(0, key, records);
        chunk
    }

    fn start(&self, index: usize) -> usize {
        let before = index.checked_sub(1).and_then(|before| self.hosts.get(before));
        before.map_or(0, |before| usize::from(before.end))
    }

    fn key(&self, index: usize) -> &[u8] {
        let end = self.hosts.get(index).map_or(0, |host| usize::from(host.end));
        self.keys.get(self.start(index)..end).unwrap_or_default()
    }

    /// Where the key is, or would be inserted.
    fn find(&self, key: &[u8]) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.hosts.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.key(middle).cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }

    fn insert(&mut self, index: usize, key: &[u8], records: HostRecords) {
        let start = self.start(index);
        // a key has 254 bytes at most
        let length = u16::try_from(key.len()).unwrap_or(u16::MAX);
        self.keys.splice(start..start, key.iter().copied());
        let end = u16::try_from(start).unwrap_or(u16::MAX);
        self.hosts.insert(index, HostEntry { end, records });
        for host in self.hosts.iter_mut().skip(index) {
            host.end = host.end.saturating_add(length);
        }
    }

    fn remove(&mut self, index: usize) {
        let length = u16::try_from(self.key(index).len()).unwrap_or(u16::MAX);
        let start = self.start(index);
        self.keys.drain(start..start + usize::from(length));
        self.hosts.remove(index);
        for host in self.hosts.iter_mut().skip(index) {
            host.end = host.end.saturating_sub(length);
        }
    }

    /// Keeps the lower half and returns the upper one.
    fn split(&mut self) -> Self {
        let half = self.hosts.len() / 2;
        let start = self.start(half);
        let keys = self.keys.split_off(start);
        let mut hosts = self.hosts.split_off(half);
        let start = u16::try_from(start).unwrap_or(u16::MAX);
        for host in &mut hosts {
            host.end = host.end.saturating_sub(start);
        }
        Self { keys, hosts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn records(last: u8) -> HostRecords {
        HostRecords { v4: Some(Ipv4Addr::new(192, 0, 2, last)), v6: None, ttl: 60 }
    }

    fn entries(hosts: HostMap) -> Vec<(Vec<u8>, HostRecords)> {
        let mut cursor = HostCursor::new(hosts);
        let next = || cursor.next().map(|(key, records)| (key.to_vec(), records));
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn a_host_takes_32_bytes_and_its_key() {
        assert_eq!(size_of::<HostEntry>(), 32);
    }

    #[test]
    fn the_longest_keys_fit_a_full_chunk() {
        let mut map = HostMap::default();
        for number in 0..2 * MAX_HOSTS {
            let key = format!("{number:0254}");
            assert!(map.set(key.as_bytes(), records(1)));
        }
        assert_eq!(entries(map.clone()).len(), 2 * MAX_HOSTS);
        for number in 0..2 * MAX_HOSTS {
            assert!(map.get(format!("{number:0254}").as_bytes()).is_some(), "{number}");
        }
    }

    #[test]
    fn a_map_filled_in_order_has_full_chunks() {
        let mut map = HostMap::default();
        for number in 0..4 * MAX_HOSTS {
            map.set(format!("{number:06}").as_bytes(), records(1));
        }
        assert_eq!(map.chunks.len(), 4);
    }

    #[test]
    fn a_snapshot_keeps_what_was_there() {
        let mut map = HostMap::default();
        map.set(b"a", records(1));
        map.set(b"b", records(2));
        let snapshot = map.clone();
        map.set(b"a", records(9));
        map.set(b"b", HostRecords::default());
        map.set(b"c", records(3));
        let was = entries(snapshot);
        assert_eq!(was, [(b"a".to_vec(), records(1)), (b"b".to_vec(), records(2))]);
        assert_eq!(map.get(b"a"), Some(records(9)));
        assert_eq!(map.get(b"b"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_behaves_like_a_sorted_map(
            steps in proptest::collection::vec(("[a-c]{0,3}(\\.[a-c]{1,2}){0,2}", 0u8..4), 0..900),
        ) {
            let mut map = HostMap::default();
            let mut model: BTreeMap<Vec<u8>, HostRecords> = BTreeMap::new();
            for (key, last) in steps {
                let key = key.into_bytes();
                let new = if last == 0 { HostRecords::default() } else { records(last) };
                let old = if new.is_empty() { model.remove(&key) } else { model.insert(key.clone(), new) };
                let changed = old != Some(new).filter(|new| !new.is_empty());
                prop_assert_eq!(map.set(&key, new), changed);
            }
            prop_assert_eq!(entries(map.clone()), model.clone().into_iter().collect::<Vec<_>>());
            for prefix in ["", "a", "a.", "b.", "c.a.", "cc.", "abc."] {
                let expected = model.keys().any(|key| key.starts_with(prefix.as_bytes()));
                prop_assert_eq!(map.has_prefix(prefix.as_bytes()), expected, "{}", prefix);
            }
        }
    }
}
