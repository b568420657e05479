//! Every API we speak: its key, versions, request and response; and the two sums over them.

use super::table::{self, Message, Version};
use super::*;
use crate::codec::{Reader, Result, Writer};
use bytes::Bytes;
use core::fmt;
use std::sync::Arc;

macro_rules! apis {
    (@map_records $body:ident $map:ident) => { $body };
    (@map_records $body:ident $map:ident $r:ident) => { $body.try_map_records($map)? };

    ($( $key:literal $name:ident $min:literal..=$max:literal flexible $flexible:literal
        $request:ident => $response:ident $(<$r:ident>)?; )*) => {
        /// Which API a request belongs to; the number is Kafka's `api_key`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ApiKey { $( $name = $key, )* }

        impl ApiKey {
            pub const ALL: &'static [ApiKey] = &[$( ApiKey::$name, )*];

            pub const fn from_code(code: i16) -> Option<ApiKey> {
                match code {
                    $( $key => Some(ApiKey::$name), )*
                    _ => None,
                }
            }

            pub const fn name(self) -> &'static str {
                match self { $( ApiKey::$name => stringify!($name), )* }
            }

            /// The lowest and the highest version we can read and write (what a broker advertises may be less).
            pub const fn versions(self) -> (i16, i16) {
                match self { $( ApiKey::$name => ($min, $max), )* }
            }

            /// The first version with compact lengths and tagged fields; `i16::MAX` where there is none.
            pub const fn flexible_from(self) -> i16 {
                match self { $( ApiKey::$name => $flexible, )* }
            }
        }

        /// What is asked of a broker. Whoever keeps a question, to ask it again or to answer it later, shares it.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Request { $( $name(Arc<$request>), )* }

        impl Request {
            pub const fn key(&self) -> ApiKey {
                match self { $( Request::$name(_) => ApiKey::$name, )* }
            }

            /// A request of this API with every field at its default.
            pub fn empty(key: ApiKey) -> Request {
                match key { $( ApiKey::$name => Request::$name(Default::default()), )* }
            }

            fn body(&self) -> &dyn Message {
                match self { $( Request::$name(body) => &**body, )* }
            }

            /// The body, as long as nobody shares it.
            fn body_mut(&mut self) -> Option<&mut dyn Message> {
                Some(match self { $( Request::$name(body) => Arc::get_mut(body)?, )* })
            }
        }

        /// What a broker answers. `R` is how records are represented: a `LogRange` when a machine emits it, `Bytes`
        /// when it arrives; only Fetch has any.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Response<R = Bytes> { $( $name($response $(<$r>)?), )* }

        impl<R> Response<R> {
            pub const fn key(&self) -> ApiKey {
                match self { $( Response::$name(_) => ApiKey::$name, )* }
            }

            /// Puts other records in the place of these; the first failure ends it.
            pub fn try_map_records<S, E>(
                self,
                map: impl FnMut(R) -> core::result::Result<S, E>,
            ) -> core::result::Result<Response<S>, E> {
                Ok(match self {
                    $( Response::$name(body) => Response::$name(apis!(@map_records body map $($r)?)), )*
                })
            }
        }

        impl Response<Bytes> {
            fn empty(key: ApiKey) -> Response<Bytes> {
                match key { $( ApiKey::$name => Response::$name(Default::default()), )* }
            }

            fn body(&self) -> &dyn Message {
                match self { $( Response::$name(body) => body, )* }
            }

            fn body_mut(&mut self) -> &mut dyn Message {
                match self { $( Response::$name(body) => body, )* }
            }
        }

        $(
            impl From<$request> for Request {
                fn from(body: $request) -> Request {
                    Request::$name(Arc::new(body))
                }
            }

            impl<R> From<$response $(<$r>)?> for Response<R> {
                fn from(body: $response $(<$r>)?) -> Response<R> {
                    Response::$name(body)
                }
            }
        )*
    };
}

apis! {
    0 Produce 0..=11 flexible 9 ProduceRequest => ProduceResponse;
    1 Fetch 0..=17 flexible 12 FetchRequest => FetchResponse<R>;
    2 ListOffsets 0..=9 flexible 6 ListOffsetsRequest => ListOffsetsResponse;
    3 Metadata 0..=12 flexible 9 MetadataRequest => MetadataResponse;
    4 LeaderAndIsr 0..=7 flexible 4 LeaderAndIsrRequest => LeaderAndIsrResponse;
    5 StopReplica 0..=4 flexible 2 StopReplicaRequest => StopReplicaResponse;
    6 UpdateMetadata 0..=8 flexible 6 UpdateMetadataRequest => UpdateMetadataResponse;
    7 ControlledShutdown 0..=3 flexible 3 ControlledShutdownRequest => ControlledShutdownResponse;
    18 ApiVersions 0..=4 flexible 3 ApiVersionsRequest => ApiVersionsResponse;
    19 CreateTopics 0..=7 flexible 5 CreateTopicsRequest => CreateTopicsResponse;
    20 DeleteTopics 0..=6 flexible 4 DeleteTopicsRequest => DeleteTopicsResponse;
    22 InitProducerId 0..=5 flexible 2 InitProducerIdRequest => InitProducerIdResponse;
    23 OffsetForLeaderEpoch 0..=4 flexible 4 OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse;
    32 DescribeConfigs 0..=4 flexible 4 DescribeConfigsRequest => DescribeConfigsResponse;
    43 ElectLeaders 0..=2 flexible 2 ElectLeadersRequest => ElectLeadersResponse;
    44 IncrementalAlterConfigs 0..=1 flexible 1 IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse;
    45 AlterPartitionReassignments 0..=0 flexible 0
        AlterPartitionReassignmentsRequest => AlterPartitionReassignmentsResponse;
    46 ListPartitionReassignments 0..=0 flexible 0
        ListPartitionReassignmentsRequest => ListPartitionReassignmentsResponse;
    56 AlterPartition 0..=3 flexible 0 AlterPartitionRequest => AlterPartitionResponse;
    60 DescribeCluster 0..=1 flexible 0 DescribeClusterRequest => DescribeClusterResponse;
    67 AllocateProducerIds 0..=0 flexible 0 AllocateProducerIdsRequest => AllocateProducerIdsResponse;
}

impl ApiKey {
    pub const fn code(self) -> i16 {
        self as i16
    }

    pub const fn min_version(self) -> i16 {
        self.versions().0
    }

    pub const fn max_version(self) -> i16 {
        self.versions().1
    }

    pub const fn supports(self, version: i16) -> bool {
        self.min_version() <= version && version <= self.max_version()
    }

    pub const fn is_flexible(self, version: i16) -> bool {
        version >= self.flexible_from()
    }

    fn version(self, number: i16) -> Version {
        let (min, max) = self.versions();
        assert!(self.supports(number), "{self} has no version {number}, only {min} to {max}");
        Version { number, flexible: self.is_flexible(number) }
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Request {
    /// Reads the body of a request. What a sender put behind it is left unread.
    pub fn decode(key: ApiKey, version: i16, reader: &mut Reader) -> Result<Request> {
        let mut request = Request::empty(key);
        let body = request.body_mut().expect("a request that was just made is not shared");
        table::read(body, reader, key.version(version))?;
        Ok(request)
    }

    /// Writes the body of the request.
    pub fn encode(&self, version: i16, writer: &mut Writer) {
        table::write(self.body(), writer, self.key().version(version));
    }

    /// The API's name, as Kafka writes it.
    pub const fn name(&self) -> &'static str {
        self.key().name()
    }
}

impl Response<Bytes> {
    /// Reads the body of a response.
    pub fn decode(key: ApiKey, version: i16, reader: &mut Reader) -> Result<Response<Bytes>> {
        let mut response = Response::empty(key);
        table::read(response.body_mut(), reader, key.version(version))?;
        Ok(response)
    }

    /// Writes the body of the response.
    pub fn encode(&self, version: i16, writer: &mut Writer) {
        table::write(self.body(), writer, self.key().version(version));
    }
}

impl<R> Response<R> {
    /// The API's name, as Kafka writes it.
    pub const fn name(&self) -> &'static str {
        self.key().name()
    }

    /// Puts other records in the place of these.
    pub fn map_records<S>(self, mut map: impl FnMut(R) -> S) -> Response<S> {
        let mapped = self.try_map_records(|records| Ok::<S, core::convert::Infallible>(map(records)));
        match mapped {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}
