//! DescribeConfigs (key 32) and IncrementalAlterConfigs (key 44, KIP-339).

use super::ErrorCode;
use super::table::message;

message! {
    DescribeConfigsRequest {
        resources: Vec<DescribeConfigsResource> [ALL],
        include_synonyms: bool [since(1)],
        include_documentation: bool [since(3)],
    }
    DescribeConfigsResource {
        /// 2 topic, 4 broker, 8 broker logger.
        resource_type: i8 [ALL],
        resource_name: String [ALL],
        /// Null for all.
        keys: Option<Vec<String>> [ALL],
    }
    DescribeConfigsResponse {
        throttle_ms: i32 [ALL],
        results: Vec<DescribeConfigsResult> [ALL],
    }
    DescribeConfigsResult {
        error: ErrorCode [ALL],
        error_message: Option<String> [ALL],
        resource_type: i8 [ALL],
        resource_name: String [ALL],
        configs: Vec<DescribedConfig> [ALL],
    }
    DescribedConfig {
        name: String [ALL],
        value: Option<String> [ALL],
        read_only: bool [ALL],
        is_default: bool [only(0)],
        source: i8 [since(1)] = -1,
        is_sensitive: bool [ALL],
        synonyms: Vec<ConfigSynonym> [since(1)],
        config_type: i8 [since(3)],
        documentation: Option<String> [since(3)],
    }
    ConfigSynonym {
        name: String [ALL],
        value: Option<String> [ALL],
        source: i8 [ALL],
    }

    IncrementalAlterConfigsRequest {
        resources: Vec<AlterConfigsResource> [ALL],
        validate_only: bool [ALL],
    }
    AlterConfigsResource {
        resource_type: i8 [ALL],
        resource_name: String [ALL],
        configs: Vec<AlterableConfig> [ALL],
    }
    AlterableConfig {
        name: String [ALL],
        /// 0 set, 1 delete, 2 append, 3 subtract.
        operation: i8 [ALL],
        value: Option<String> [ALL],
    }
    IncrementalAlterConfigsResponse {
        throttle_ms: i32 [ALL],
        responses: Vec<AlterConfigsResult> [ALL],
    }
    AlterConfigsResult {
        error: ErrorCode [ALL],
        error_message: Option<String> [ALL],
        resource_type: i8 [ALL],
        resource_name: String [ALL],
    }
}
