//! The head of a request, past warp's filters: they clone each part of it that they read, and
//! whatever is in the extensions. In: a request. Out: its body for warp, and the rest, once.

use crate::serve::HttpPeer;
use http::Request;
use http::request::Parts;
use hyper::body::Incoming;
use std::sync::{Arc, Mutex, PoisonError};

/// An extension: the head of a request and its peer.
#[derive(Clone)]
pub(super) struct TakenHead(Arc<Mutex<Option<(Parts, HttpPeer)>>>);

impl TakenHead {
    /// What is left of the request is its body.
    pub(super) fn take_out(request: Request<Incoming>, peer: HttpPeer) -> Request<Incoming> {
        let (head, body) = request.into_parts();
        let mut request = Request::new(body);
        request.extensions_mut().insert(Self(Arc::new(Mutex::new(Some((head, peer))))));
        request
    }

    /// `None` from the second time on.
    pub(super) fn take(&self) -> Option<(Parts, HttpPeer)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
